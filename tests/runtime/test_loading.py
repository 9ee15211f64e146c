"""LLVM text to object bytes to addresses."""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import signal
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest

from rustorch.codegen.assemble import assemble, assembly
from rustorch.codegen.target import LEVELS
from rustorch.errors import CompilerBug
from rustorch.runtime.loader import Loaded, load
from tests.runtime.kernels import TARGET

ADD_ONE = 'define i64 @f(i64 %x) nounwind {\n  %y = add i64 %x, 1\n  ret i64 %y\n}\ndefine i64 @g(i64 %x) nounwind {\n  ret i64 %x\n}\n'
FAR = "declare i64 @far(i64)\ndefine i64 @f(i64 %x) nounwind {\n  %y = call i64 @far(i64 %x)\n  %z = add i64 %y, 1\n  ret i64 %z\n}\n"
UNARY = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)


def call(code: Loaded, symbol: str, x: int) -> int:
    return int(UNARY(code.address(symbol))(x))


def test_an_object_is_relocatable_elf_and_the_same_every_time() -> None:
    first, second = assemble(ADD_ONE, TARGET), assemble(ADD_ONE, TARGET)
    assert first == second
    assert first[:4] == b"\x7fELF" and first[16:20] == b"\x01\x00\x3e\x00"  # ET_REL, x86-64


def test_loaded_code_runs() -> None:
    code = load(assemble(ADD_ONE, TARGET), ["f", "g"])
    assert (call(code, "f", 41), call(code, "g", 41)) == (42, 41)


@pytest.mark.parametrize(("level", "register"), [("v2", "xmm"), ("v3", "ymm"), ("v4", "zmm")])
def test_assembly_uses_the_levels_registers(level: str, register: str) -> None:
    lanes = LEVELS[level].vector_bytes // 4
    text = f"""define void @f(ptr %p) nounwind "prefer-vector-width"="512" {{
  %x = load <{lanes} x float>, ptr %p, align 4
  %y = fadd <{lanes} x float> %x, %x
  store <{lanes} x float> %y, ptr %p, align 4
  ret void
}}
"""
    printed = assembly(text, LEVELS[level])
    assert register in printed and "retq" in printed


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("define i32 @f() {\n  ret i32 %x\n}\n", "use of undefined value '%x'", ">     2 |   ret i32 %x"),
        ("define i32 @f() {\n  ret i32 0\n\n", "found end of file", ">     3 |"),
        (
            "define i32 @f(ptr %p) {\n  br i1 true, label %a, label %b\na:\n  %x = load i32, ptr %p\n  br label %b\nb:\n  ret i32 %x\n}\n",
            "does not dominate",
            ">     4 |   %x = load i32",
        ),
    ],
    ids=["parser", "end", "verifier"],
)
def test_text_that_llvm_refuses_is_a_compiler_bug(text: str, message: str, line: str) -> None:
    with pytest.raises(CompilerBug, match=message) as found:
        assemble(text, TARGET)
    assert line in str(found.value)


def test_the_excerpt_has_three_lines_around() -> None:
    body = "".join(f"  %v{k} = add i64 {k}, 0\n" for k in range(20)).replace("%v10 = add i64 10", "%v10 = add i64 %nothing")
    with pytest.raises(CompilerBug) as found:
        assemble(f"define void @f() {{\n{body}  ret void\n}}\n", TARGET)
    excerpt = [line for line in str(found.value).splitlines() if " | " in line]
    assert len(excerpt) == 7 and "%nothing" in excerpt[3] and excerpt[3].strip().startswith(">")


def test_missing_symbols_are_compiler_bugs(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CompilerBug, match="given no import"):
        load(assemble(FAR, TARGET), ["f"])
    with pytest.raises(CompilerBug, match="asked for h"):
        load(assemble(ADD_ONE, TARGET), ["h"])
    with pytest.raises(CompilerBug):
        load(b"not an object", ["f"])
    assert capfd.readouterr().err == ""


def test_imports_at_any_distance() -> None:
    """A function placed by hand more than 2 GB from the code: `lea rax, [rdi + 2*rdi]; ret`."""
    near = load(assemble(ADD_ONE, TARGET), ["f"])
    for place in (0x10_0000_0000, 0x6000_0000_0000):
        code = _page_at(place, b"\x48\x8d\x04\x7f\xc3")
        assert abs(code - near.address("f")) > 2**33
        assert call(load(assemble(FAR, TARGET), ["f"], {"far": code}), "f", 7) == 22
    other = load(assemble(FAR, TARGET), ["f"], {"far": near.address("f")})
    assert call(other, "f", 7) == 9


def _page_at(place: int, code: bytes) -> int:
    """An executable page near an address, holding `code`."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    found = libc.mmap(place, 4096, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    ctypes.memmove(found, code, len(code))
    return int(found)


def test_code_goes_with_its_last_owner() -> None:
    object_ = assemble(ADD_ONE, TARGET)
    code = load(object_, ["f"])
    token = weakref.ref(code.token)
    keeper = code.token
    del code
    assert token() is not None
    del keeper
    assert token() is None
    mapped = _mappings()
    for _ in range(200):
        assert call(load(object_, ["f"]), "f", 1) == 2
    gc.collect()
    assert _mappings() - mapped < 50


def _mappings() -> int:
    return len(Path("/proc/self/maps").read_text().splitlines())


def test_threads_compile_and_load() -> None:
    wrong: list[int] = []

    def work(seed: int) -> None:
        for k in range(10):
            number = 100 * seed + k
            code = load(assemble(ADD_ONE.replace("%x, 1", f"%x, {number}"), TARGET), ["f"])
            if call(code, "f", 1) != number + 1:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_ctrl_c_during_a_compile_surfaces_afterwards() -> None:
    body = "".join(f"  %v{k + 1} = mul i64 %v{k}, %v{k // 2}\n" for k in range(3000))
    slow = f"define i64 @f(i64 %v0) nounwind {{\n{body}  ret i64 %v3000\n}}\n"
    assemble(slow, TARGET)  # everything is imported when the clock starts
    handler = signal.getsignal(signal.SIGINT)
    timer = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        assemble(slow, TARGET)
    timer.join()
    assert signal.getsignal(signal.SIGINT) is handler
    assert call(load(assemble(ADD_ONE, TARGET), ["f"]), "f", 1) == 2


def test_llvm_is_imported_on_first_use_and_exit_is_clean() -> None:
    program = """
import sys
from rustorch.codegen.assemble import assemble
from rustorch.codegen.target import target
from rustorch.runtime.loader import load
assert "llvmlite" not in sys.modules
keep = load(assemble("define void @f() {\\n  ret void\\n}", target("v2")), ["f"])
print(keep.address("f") > 0)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
