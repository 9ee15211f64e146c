"""A small package, written by hand as LLVM text: drivers that keep the native ABI, and a kernel in an object of its own.

`demo.quad` has static sizes; `demo.affine` has a symbolic `n`, scalars by value, a workspace and a check.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from rustorch.aot.header import c_header, declare_driver, exported_symbols, wrapper_text
from rustorch.aot.package import ExportedFunction, save
from rustorch.artifact import ArgSpec
from rustorch.runtime.elf import relocatable, shared_library

KERNEL = """
define hidden double @square(double %x) nounwind "no-builtins" {
  %y = fmul double %x, %x
  ret double %y
}
"""

# value = a * sum(x * x), grad = 2 * a * x, for x: f64[3]
QUAD_DRIVER = """
declare hidden double @square(double)

define hidden i32 @quad_driver(ptr %dims, ptr %args, ptr %work, ptr %executor) nounwind "no-builtins" {
entry:
  %x = load ptr, ptr %args
  %args.1 = getelementptr ptr, ptr %args, i64 1
  %a.at = load ptr, ptr %args.1
  %a = load double, ptr %a.at
  %args.2 = getelementptr ptr, ptr %args, i64 2
  %value = load ptr, ptr %args.2
  %args.3 = getelementptr ptr, ptr %args, i64 3
  %grad = load ptr, ptr %args.3
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%next, %loop]
  %sum = phi double [0.0, %entry], [%more, %loop]
  %x.at = getelementptr double, ptr %x, i64 %i
  %x.i = load double, ptr %x.at
  %squared = call double @square(double %x.i)
  %more = fadd double %sum, %squared
  %twice = fmul double %x.i, 2.0
  %scaled = fmul double %twice, %a
  %grad.at = getelementptr double, ptr %grad, i64 %i
  store double %scaled, ptr %grad.at
  %next = add i64 %i, 1
  %again = icmp slt i64 %next, 3
  br i1 %again, label %loop, label %done
done:
  %total = fmul double %more, %a
  store double %total, ptr %value
  ret i32 0
}
"""

# y = s * x + k where flag, else x; first = y[0, 0]. It goes through the workspace, and check 0 refuses n > 1000.
AFFINE_DRIVER = """
define hidden i32 @affine_driver(ptr %dims, ptr %args, ptr %work, ptr %executor) nounwind "no-builtins" {
entry:
  %n = load i64, ptr %dims
  %large = icmp sgt i64 %n, 1000
  br i1 %large, label %refuse, label %start
refuse:
  ret i32 1
start:
  %count = mul i64 %n, 3
  %x = load ptr, ptr %args
  %args.1 = getelementptr ptr, ptr %args, i64 1
  %s.at = load ptr, ptr %args.1
  %s = load float, ptr %s.at
  %args.2 = getelementptr ptr, ptr %args, i64 2
  %k.at = load ptr, ptr %args.2
  %k.i = load i64, ptr %k.at
  %k = sitofp i64 %k.i to float
  %args.3 = getelementptr ptr, ptr %args, i64 3
  %flag.at = load ptr, ptr %args.3
  %flag.b = load i8, ptr %flag.at
  %flag = icmp eq i8 %flag.b, 1
  %args.4 = getelementptr ptr, ptr %args, i64 4
  %y = load ptr, ptr %args.4
  %args.5 = getelementptr ptr, ptr %args, i64 5
  %first = load ptr, ptr %args.5
  br label %head.1
head.1:
  %i = phi i64 [0, %start], [%i.next, %body.1]
  %c.1 = icmp slt i64 %i, %count
  br i1 %c.1, label %body.1, label %head.2
body.1:
  %x.at = getelementptr float, ptr %x, i64 %i
  %x.i = load float, ptr %x.at
  %m = fmul float %x.i, %s
  %r = fadd float %m, %k
  %chosen = select i1 %flag, float %r, float %x.i
  %w.at = getelementptr float, ptr %work, i64 %i
  store float %chosen, ptr %w.at
  %i.next = add i64 %i, 1
  br label %head.1
head.2:
  %j = phi i64 [0, %head.1], [%j.next, %body.2]
  %c.2 = icmp slt i64 %j, %count
  br i1 %c.2, label %body.2, label %done
body.2:
  %v.at = getelementptr float, ptr %work, i64 %j
  %v = load float, ptr %v.at
  %y.at = getelementptr float, ptr %y, i64 %j
  store float %v, ptr %y.at
  %j.next = add i64 %j, 1
  br label %head.2
done:
  %some = icmp sgt i64 %n, 0
  br i1 %some, label %write, label %end
write:
  %y.0 = load float, ptr %y
  store float %y.0, ptr %first
  br label %end
end:
  ret i32 0
}
"""

QUAD = ExportedFunction(
    name="quad",
    symbol="demo_quad",
    kind="value_and_grad",
    dims=(),
    inputs=(ArgSpec("x", "f64", (3,)), ArgSpec("a", "f64", ())),
    outputs=(ArgSpec("value", "f64", ()), ArgSpec("grad_x", "f64", (3,))),
    doc="Sum of squares, times a.",
)
AFFINE = ExportedFunction(
    name="affine",
    symbol="demo_affine",
    kind="value",
    dims=("n",),
    inputs=(ArgSpec("x", "f32", ("n", 3)), ArgSpec("s", "f32", ()), ArgSpec("k", "i64", ()), ArgSpec("flag", "bool", ())),
    outputs=(ArgSpec("y", "f32", ("n", 3)), ArgSpec("first", "f32", ())),
    work_bytes="12*n + 64",
    checks=("n is at most 1000",),
)


@cache
def assemble(text: str, reloc: str = "pic") -> bytes:
    """The object of a module of LLVM text, for the lowest level."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()  # for inline assembly
    target = llvm.Target.from_triple("x86_64-unknown-linux-gnu")
    module = llvm.parse_assembly(text)
    module.verify()
    return bytes(target.create_target_machine(cpu="x86-64-v2", opt=2, reloc=reloc, codemodel="small").emit_object(module))


@dataclass(frozen=True)
class Built:
    """The demo package in parts: its functions, its objects and what they are linked to."""

    functions: tuple[ExportedFunction, ...]
    objects: tuple[bytes, ...]
    library: bytes
    object: bytes
    header: str

    def save(self, path: Path, level: str = "v2", graph: str = "func @demo() {\n}\n") -> Path:
        return save(
            path,
            "demo",
            library=self.library,
            object=self.object,
            header=self.header,
            graph=graph,
            functions=self.functions,
            level=level,
        )


def build(functions: tuple[ExportedFunction, ...], name: str, *texts: str) -> Built:
    """Link drivers with the typed functions; the driver of `demo_f` is `f_driver`."""
    wrappers = "".join(declare_driver(f"{one.name}_driver") + wrapper_text(one, f"{one.name}_driver") for one in functions)
    objects = tuple(map(assemble, (*texts, wrappers)))
    exports = exported_symbols(functions)
    library = shared_library(objects, exports, f"lib{name}.so")
    return Built(functions, objects, library, relocatable(objects, exports), c_header(name, functions, "v2"))


@pytest.fixture(name="assemble")
def assemble_fixture() -> Callable[..., bytes]:
    return assemble


@pytest.fixture(name="build")
def build_fixture() -> Callable[..., Built]:
    return build


@pytest.fixture(scope="session")
def demo() -> Built:
    return build((QUAD, AFFINE), "demo", KERNEL, QUAD_DRIVER, AFFINE_DRIVER)


@pytest.fixture
def shell(tmp_path: Path) -> Callable[..., str]:
    """A function that runs a command in the test's folder and gives what it prints; a complaint on standard error fails."""
    if not shutil.which("cc"):
        pytest.skip("no C compiler here")

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), f"{' '.join(command)}\n{done.stdout}{done.stderr}"
        return done.stdout

    return run
