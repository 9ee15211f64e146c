"""The linker: what it writes is accepted by the system's loader, linker and tools, and what it cannot link is refused."""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rustorch.errors import CompilerBug, Unsupported
from rustorch.runtime.elf import defined_symbols, relocatable, shared_library, undefined_symbols

Assemble = Callable[..., bytes]
Shell = Callable[..., str]

# A jump table, constants behind each other, pointers in a table, a variable that starts at 0 and one that starts at 40.
PARTS = """
@table = internal constant [4 x double] [double 1.0, double 2.0, double 4.0, double 8.0], align 64
@pointers = internal constant [2 x ptr] [ptr @first, ptr getelementptr (i8, ptr @table, i64 8)]
@calls = internal global i64 0
@start = internal global i64 40
declare i64 @other(i64)

define i64 @first(i64 %i) nounwind { ret i64 %i }

define i64 @count() nounwind {
  %calls = load i64, ptr @calls
  %more = add i64 %calls, 1
  store i64 %more, ptr @calls
  %start = load i64, ptr @start
  %sum = add i64 %start, %more
  ret i64 %sum
}

define double @element(i64 %i) nounwind {
  %slot = getelementptr ptr, ptr @pointers, i64 1
  %table = load volatile ptr, ptr %slot
  %at = getelementptr double, ptr %table, i64 %i
  %x = load double, ptr %at
  ret double %x
}

define i64 @called(i64 %i) nounwind {
  %slot = getelementptr ptr, ptr @pointers, i64 0
  %function = load volatile ptr, ptr %slot
  %x = call i64 %function(i64 %i)
  ret i64 %x
}

define ptr @address() nounwind { ret ptr @other }

define i64 @across(i64 %i) nounwind {
  %x = call i64 @other(i64 %i)
  ret i64 %x
}

define i64 @jump(i64 %i) nounwind {
  switch i64 %i, label %d [i64 0, label %a
                           i64 1, label %b
                           i64 2, label %c
                           i64 3, label %e
                           i64 4, label %f]
a: call void asm sideeffect "", ""()
   ret i64 11
b: call void asm sideeffect "nop", ""()
   ret i64 7
c: %p = call i64 @first(i64 70)
   ret i64 %p
e: %q = call i64 @other(i64 3)
   ret i64 %q
f: %r = call i64 @count()
   ret i64 %r
d: ret i64 -1
}
"""
OTHER = """
@scale = private unnamed_addr constant [3 x i64] [i64 5, i64 6, i64 7], align 16
define i64 @other(i64 %i) nounwind {
  %k = urem i64 %i, 3
  %at = getelementptr i64, ptr @scale, i64 %k
  %s = load i64, ptr %at
  %x = mul i64 %i, %s
  ret i64 %x
}
"""
EXPORTS = ["count", "element", "called", "address", "across", "jump"]

CHECK = """
#include <stdio.h>
#include <stdint.h>
int64_t count(void), called(int64_t), across(int64_t), jump(int64_t);
double element(int64_t);
int64_t (*address(void))(int64_t);
int main(void) {
  int64_t first = count(), second = count();
  printf("%ld %ld %g %ld %ld %ld", (long)first, (long)second, element(2), (long)called(9), (long)across(4), (long)address()(5));
  for (int i = 0; i < 5; ++i) printf(" %ld", (long)jump(i));
  return 0;
}
"""
EXPECTED = "41 42 8 9 24 35 11 7 70 15 43"


@pytest.fixture
def parts(assemble: Assemble) -> list[bytes]:
    return [assemble(PARTS), assemble(OTHER)]


def test_a_program_links_against_the_library(parts: list[bytes], shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "libparts.so").write_bytes(shared_library(parts, EXPORTS, "libparts.so"))
    (tmp_path / "main.c").write_text(CHECK)
    shell("cc", "-Wall", "-Werror", "main.c", "-L.", "-lparts", f"-Wl,-rpath,{tmp_path}", "-Wl,--fatal-warnings", "-o", "main")
    assert shell("./main") == EXPECTED
    assert "[libparts.so]" in shell("readelf", "-d", "main")


@pytest.mark.parametrize("flags", [[], ["-static"], ["-O2", "-no-pie"]], ids=["pie", "static", "no-pie"])
def test_a_program_links_the_object(parts: list[bytes], shell: Shell, tmp_path: Path, flags: list[str]) -> None:
    (tmp_path / "parts.o").write_bytes(relocatable(parts, EXPORTS))
    (tmp_path / "main.c").write_text(CHECK)
    shell("cc", "-Wall", "-Werror", *flags, "main.c", "parts.o", "-Wl,--fatal-warnings", "-o", "main")
    assert shell("./main") == EXPECTED


def test_the_system_linker_makes_a_library_of_the_object(parts: list[bytes], shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "parts.o").write_bytes(relocatable(parts, EXPORTS))
    shell("cc", "-shared", "-Wl,-z,text,--fatal-warnings,--no-undefined", "parts.o", "-o", "libparts.so")
    assert ctypes.CDLL(str(tmp_path / "libparts.so")).across(4) == 24


def test_an_object_that_was_merged_links_again(parts: list[bytes], tmp_path: Path) -> None:
    merged = relocatable(parts, EXPORTS)
    assert relocatable([merged], EXPORTS) == relocatable([relocatable([merged], EXPORTS)], EXPORTS)
    (tmp_path / "libagain.so").write_bytes(shared_library([merged], EXPORTS, "libagain.so"))
    library = ctypes.CDLL(str(tmp_path / "libagain.so"))
    assert [library.jump(ctypes.c_int64(i)) for i in range(5)] == [11, 7, 70, 15, 41]


def test_only_exports_are_visible(parts: list[bytes], shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "libparts.so").write_bytes(shared_library(parts, EXPORTS, "libparts.so"))
    (tmp_path / "parts.o").write_bytes(relocatable(parts, EXPORTS))
    assert shell("nm", "-D", "-u", "libparts.so") == ""
    assert shell("nm", "-u", "parts.o") == ""
    names = [line.split()[-1] for line in shell("nm", "-D", "--defined-only", "libparts.so").splitlines()]
    assert sorted(names) == sorted(EXPORTS)
    names = [line.split()[-1] for line in shell("nm", "-g", "parts.o").splitlines()]
    assert sorted(names) == sorted(EXPORTS)
    assert defined_symbols((tmp_path / "parts.o").read_bytes()) == sorted(EXPORTS)


def test_tools_read_the_files_without_complaint(parts: list[bytes], shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "libparts.so").write_bytes(shared_library(parts, EXPORTS, "libparts.so"))
    (tmp_path / "parts.o").write_bytes(relocatable(parts, EXPORTS))
    for file in ("libparts.so", "parts.o"):
        shell("readelf", "-aW", file)
        assert "<other>:" in shell("objdump", "-d", file) or file.endswith(".so")
        shell("size", file)
    shell("readelf", "-aW", "--lint", "libparts.so")
    dynamic = shell("readelf", "-dW", "libparts.so")
    assert "Library soname: [libparts.so]" in dynamic
    assert "TEXTREL" not in dynamic and "NEEDED" not in dynamic
    shell("strip", "--strip-unneeded", "libparts.so", "-o", "stripped.so")
    assert ctypes.CDLL(str(tmp_path / "stripped.so")).across(4) == 24


def test_no_page_is_writable_and_executable(parts: list[bytes], shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "libparts.so").write_bytes(shared_library(parts, EXPORTS, "libparts.so"))
    lines = shell("readelf", "-lW", "libparts.so").splitlines()
    loads = [line for line in lines if line.strip().startswith("LOAD")]
    assert [re.findall(r" (R[W ][E ]) 0x", line) for line in loads] == [["R  "], ["R E"], ["RW "], ["RW "]]
    assert any("GNU_STACK" in line and "RW " in line for line in lines)


def test_relocated_tables_are_read_only_once_loaded(parts: list[bytes], tmp_path: Path) -> None:
    (tmp_path / "libparts.so").write_bytes(shared_library(parts, EXPORTS, "libparts.so"))
    library = ctypes.CDLL(str(tmp_path / "libparts.so"))
    assert library.count() == 41
    maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(str(tmp_path / "libparts.so"))]
    assert [line[1] for line in maps] == ["r--p", "r-xp", "r--p", "rw-p"]


def test_a_library_of_one_leaf_needs_no_relocation(assemble: Assemble, shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "libleaf.so").write_bytes(shared_library([assemble(OTHER)], ["other"], "libleaf.so"))
    assert "There are no relocations" in shell("readelf", "-rW", "libleaf.so")
    assert ctypes.CDLL(str(tmp_path / "libleaf.so")).other(5) == 35


def test_every_one_of_many_symbols_is_found(assemble: Assemble, tmp_path: Path) -> None:
    """The hash table, with names whose hashes overflow 28 bits."""
    names = [f"function_with_a_long_name_{k}_{'é' if k % 2 else 'z'}" for k in range(100)]
    text = "".join(f'define i64 @"{name}"() nounwind {{ ret i64 {k} }}\n' for k, name in enumerate(names))
    (tmp_path / "libmany.so").write_bytes(shared_library([assemble(text)], names, "libmany.so"))
    library = ctypes.CDLL(str(tmp_path / "libmany.so"))
    assert [library[name]() for name in names] == list(range(100))
    assert not hasattr(library, "function_with_a_long_name_100_z")


def test_equal_input_gives_equal_bytes(parts: list[bytes], tmp_path: Path) -> None:
    """In other processes, with other hashes, for exports in another order."""
    program = (
        "import sys; from rustorch.runtime.elf import relocatable, shared_library\n"
        f"parts = [open(path, 'rb').read() for path in sys.argv[1:]]; exports = {EXPORTS[::-1]!r}\n"
        "sys.stdout.buffer.write(shared_library(parts, exports, 'libparts.so') + relocatable(parts, exports))"
    )
    files = [tmp_path / f"{k}.o" for k in range(len(parts))]
    for file, part in zip(files, parts, strict=True):
        file.write_bytes(part)
    found = set()
    for seed in ("1", "2"):
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])}
        command = [sys.executable, "-c", program, *map(str, files)]
        found.add(subprocess.run(command, capture_output=True, check=True, env=environment).stdout)
    assert found == {shared_library(parts, EXPORTS, "libparts.so") + relocatable(parts, EXPORTS)}


def test_undefined_symbols_are_named(assemble: Assemble) -> None:
    text = """
    declare double @exp(double)
    declare double @llvm.pow.f64(double, double)
    define double @f(double %x) { %y = call double @exp(double %x)
      %z = call double @llvm.pow.f64(double %x, double %y)
      ret double %z }
    """
    assert undefined_symbols(assemble(text)) == ["exp", "pow"]
    with pytest.raises(CompilerBug, match=r"linking: undefined symbols exp, pow\n"):
        shared_library([assemble(text)], ["f"], "libf.so")
    with pytest.raises(CompilerBug, match=r"linking: undefined symbols exp, pow\n"):
        relocatable([assemble(text)], ["f"])


def test_an_unused_import_is_refused_too(assemble: Assemble) -> None:
    with pytest.raises(CompilerBug, match="undefined symbols other"):
        shared_library([assemble(PARTS)], EXPORTS, "libparts.so")


def test_unwind_tables_are_left_out(assemble: Assemble) -> None:
    text = "define i64 @f() uwtable { ret i64 3 }"
    assert b".eh_frame" in assemble(text)
    assert b".eh_frame" not in shared_library([assemble(text)], ["f"], "libf.so")


def test_two_definitions_are_refused_and_weak_ones_are_not(assemble: Assemble, tmp_path: Path) -> None:
    strong = [f"define i64 @f() nounwind {{ ret i64 {k} }}" for k in (1, 2)]
    with pytest.raises(CompilerBug, match="f is defined by two objects"):
        shared_library(list(map(assemble, strong)), ["f"], "libf.so")
    weak = [f"define weak i64 @f() nounwind {{ ret i64 {k} }}" for k in (3, 4)]
    for number, (texts, expected) in enumerate([(weak, 3), ([weak[0], strong[0]], 1), ([strong[1], weak[0]], 2)]):
        path = tmp_path / f"lib{number}.so"
        path.write_bytes(shared_library(list(map(assemble, texts)), ["f"], path.name))
        assert ctypes.CDLL(str(path)).f() == expected


def test_a_missing_export_is_refused(assemble: Assemble) -> None:
    with pytest.raises(CompilerBug, match=r"no object defines g, h\n  defined: other"):
        shared_library([assemble(OTHER)], ["other", "h", "g"], "libother.so")


def test_a_local_function_cannot_be_exported(assemble: Assemble) -> None:
    text = "define internal i64 @f() { ret i64 1 }\ndefine i64 @g() { %x = call i64 @f()\n ret i64 %x }"
    with pytest.raises(CompilerBug, match="no object defines f"):
        shared_library([assemble(text)], ["f"], "libf.so")


def test_code_that_depends_on_its_position_is_refused(assemble: Assemble) -> None:
    text = "@t = internal constant [2 x i64] [i64 1, i64 2]\ndefine i64 @f(i64 %i) { %p = getelementptr i64, ptr @t, i64 %i\n"
    text += "%x = load i64, ptr %p\n ret i64 %x }"
    with pytest.raises(CompilerBug, match="is not position independent"):
        shared_library([assemble(text, reloc="static")], ["f"], "libf.so")


@pytest.mark.parametrize(
    "text",
    [
        "@x = thread_local global i64 0\ndefine i64 @f() { %v = load i64, ptr @x\n ret i64 %v }",
        "@llvm.global_ctors = appending global [1 x { i32, ptr, ptr }] [{ i32, ptr, ptr } { i32 1, ptr @f, ptr null }]\n"
        "define void @f() { ret void }",
        "@x = common global i64 0\ndefine i64 @f() { %v = load i64, ptr @x\n ret i64 %v }",
    ],
    ids=["thread-local", "constructor", "common"],
)
def test_what_needs_a_runtime_is_refused(assemble: Assemble, text: str) -> None:
    with pytest.raises(CompilerBug, match=r"has no place in a library without a runtime|lies in no section"):
        shared_library([assemble(text)], ["f"], "libf.so")


def test_bytes_that_are_no_object_are_refused(parts: list[bytes]) -> None:
    for data in (
        b"",
        b"\x7fELF",
        b"not an object" * 100,
        parts[0][:200],
        parts[0][: len(parts[0]) // 2],
        shared_library(parts, EXPORTS, "a"),
    ):
        with pytest.raises(CompilerBug, match="are not an ELF object"):
            shared_library([data], EXPORTS, "libparts.so")
    foreign = bytearray(parts[0])
    foreign[18] = 183  # aarch64
    with pytest.raises(Unsupported, match="only x86-64"):
        defined_symbols(bytes(foreign))
