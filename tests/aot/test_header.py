"""The C header and the functions behind it, compiled and run by the system's compilers."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rustorch.aot.header import c_header, exported_symbols
from rustorch.aot.package import RT_E_CHECK, RT_E_SHAPE, RT_E_WORKSPACE, RT_OK, ExportedFunction
from rustorch.artifact import ArgSpec
from rustorch.errors import Unsupported

Shell = Callable[..., str]
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]

MAIN = r"""
#include "demo.h"
#include <stdio.h>
#include <stdlib.h>
int main(void) {
  double x[3] = {1, 2, 3}, value, grad[3];
  int status = demo_quad(x, 0.5, &value, grad, NULL);
  printf("%d %g %g %g %g %zu\n", status, value, grad[0], grad[1], grad[2], demo_quad_work_bytes());

  float in[6] = {1, 2, 3, 4, 5, 6}, out[6], first;
  size_t bytes = demo_affine_work_bytes(2);
  void *work = aligned_alloc(64, (bytes + 63) / 64 * 64);
  status = demo_affine(2, in, 2.0f, 10, 1, out, &first, work);
  printf("%d %g %g %g %zu %d\n", status, (double)out[0], (double)out[5], (double)first, bytes, DEMO_AFFINE_WORK_BYTES(2) == bytes);
  printf("%d\n", demo_affine(2, in, 2.0f, 10, 255, out, &first, work) == RT_OK && first == 12.0f);
  printf("%d\n", demo_affine(2, in, 2.0f, 10, 0, out, &first, work) == RT_OK && first == 1.0f);
  printf("%d\n", demo_affine(-1, in, 2.0f, 10, 1, out, &first, work) == RT_E_SHAPE);
  printf("%d\n", demo_affine(2, in, 2.0f, 10, 1, out, &first, NULL) == RT_E_WORKSPACE);
  printf("%d\n", demo_affine(2, in, 2.0f, 10, 1, out, &first, (char *)work + 8) == RT_E_WORKSPACE);
  printf("%d\n", demo_affine(1001, in, 2.0f, 10, 1, out, &first, work) == RT_E_CHECK + 0);
  printf("%d\n", DEMO_ABI_VERSION);
  free(work);
  return 0;
}
"""
PRINTED = "0 7 1 2 3 0\n0 12 22 12 88 1\n" + "1\n" * 7


@pytest.fixture
def folder(demo: Any, tmp_path: Path) -> Path:
    demo.save(tmp_path)
    (tmp_path / "main.c").write_text(MAIN)
    return tmp_path


@pytest.mark.parametrize("standard", ["c11", "gnu17"])
def test_a_c_program_calls_the_library(folder: Path, shell: Shell, standard: str) -> None:
    shell("cc", f"-std={standard}", *STRICT, "main.c", "-L.", "-ldemo", f"-Wl,-rpath,{folder}", "-o", "main")
    assert shell("./main") == PRINTED


def test_a_c_program_links_the_object(folder: Path, shell: Shell) -> None:
    shell("cc", *STRICT, "main.c", "demo.o", "-o", "main")
    assert shell("./main") == PRINTED


def test_a_cpp_program_links_the_object(folder: Path, shell: Shell) -> None:
    (folder / "main.cpp").write_text(MAIN)
    shell("g++", "-std=c++17", *STRICT, "main.cpp", "demo.o", "-o", "main")
    assert shell("./main") == PRINTED


def test_nothing_is_undefined(folder: Path, demo: Any, shell: Shell) -> None:
    assert shell("nm", "-u", "demo.o") == shell("nm", "-D", "-u", "libdemo.so") == ""
    assert sorted(line.split()[-1] for line in shell("nm", "-D", "libdemo.so").splitlines()) == sorted(exported_symbols(demo.functions))


@pytest.mark.parametrize(("compiler", "standard"), [("cc", "c99"), ("cc", "c17"), ("g++", "c++11"), ("g++", "c++20")])
def test_two_headers_meet(folder: Path, demo: Any, shell: Shell, compiler: str, standard: str) -> None:
    other = ExportedFunction(
        "f", "other_f", "value", ("n",), (ArgSpec("x", "f64", ("n",)),), (ArgSpec("y", "f64", ("n",)),), "floordiv(n, 2)"
    )
    (folder / "other.h").write_text(c_header("other", [other]))
    suffix = "c" if compiler == "cc" else "cpp"
    lines = [
        '#include "demo.h"',
        '#include "other.h"',
        '#include "demo.h"',
        "int main(void) { return OTHER_F_WORK_BYTES(5) == 2 ? RT_OK : 1; }",
    ]
    (folder / f"two.{suffix}").write_text("\n".join(lines) + "\n")
    shell(compiler, f"-std={standard}", *STRICT, f"two.{suffix}", "-o", "two")
    shell("./two")


def test_headers_of_different_versions_do_not_meet(folder: Path, shell: Shell) -> None:
    text = (folder / "demo.h").read_text()
    (folder / "newer.h").write_text(text.replace("RUSTORCH_ABI 1", "RUSTORCH_ABI 2").replace("DEMO", "NEWER"))
    (folder / "two.c").write_text('#include "newer.h"\n#include "demo.h"\n')
    with pytest.raises(AssertionError, match="two headers of different rustorch ABI versions meet"):
        shell("cc", "-c", "two.c")


def test_the_header_says_shapes(demo: Any) -> None:
    assert (
        """\
/* demo_affine: value
 * x: f32[n, 3] C-contiguous
 * s: f32
 * k: i64
 * flag: bool
 * y: f32[n, 3] C-contiguous (result)
 * first: f32 (result)
 * RT_E_CHECK + 0: n is at most 1000
 */
int demo_affine(int64_t n, const float *x, float s, int64_t k, uint8_t flag, float *y, float *first, void *work);
size_t demo_affine_work_bytes(int64_t n);
#define DEMO_AFFINE_WORK_BYTES(n) ((12 * (int64_t)(n)) + 64)
"""
        in demo.header
    )
    assert " * Sum of squares, times a.\n *\n * x: f64[3] C-contiguous\n" in demo.header


# Names that C or C++ cannot take, that meet each other, or that end the comment.
ODD_NAMES = ("int", "class", "work", "x.y", "x y", "x_y", "0", "linux", "é", "n", "", "*/ #error", "I")
ODD_DRIVER = """
define hidden i32 @odd_driver(ptr %dims, ptr %args, ptr %work, ptr %executor) nounwind "no-builtins" {
entry:
  %n = load i64, ptr %dims
  %last.at = getelementptr ptr, ptr %args, i64 12
  %last = load ptr, ptr %last.at
  %x = load double, ptr %last
  %out.at = getelementptr ptr, ptr %args, i64 13
  %out = load ptr, ptr %out.at
  %f = sitofp i64 %n to double
  %y = fadd double %x, %f
  store double %y, ptr %out
  ret i32 0
}
"""


def test_any_argument_name_becomes_a_c_name(build: Callable[..., Any], shell: Shell, tmp_path: Path) -> None:
    odd = ExportedFunction(
        "odd",
        "odd_odd",
        "value */ int",
        ("n", "for"),
        tuple(ArgSpec(name, "f64", ()) for name in ODD_NAMES),
        (ArgSpec("n", "f64", ()),),
        doc="Ends here: */ not",
    )
    odd_built = build((odd,), "odd", ODD_DRIVER)
    (tmp_path / "odd.h").write_text(odd_built.header)
    (tmp_path / "odd.o").write_bytes(odd_built.object)
    numbers = ", ".join(map(str, range(1, len(ODD_NAMES) + 1)))
    source = f'#include <complex.h>\n#include <stdio.h>\n#include <errno.h>\n#include <assert.h>\n#include <stdlib.h>\n#include "odd.h"\n\
int main(void) {{ double y; int status = odd_odd(100, 2, {numbers}, &y, NULL); printf("%d %g", status, y); return 0; }}\n'
    (tmp_path / "main.c").write_text(source)
    (tmp_path / "main.cpp").write_text(source.replace("#include <complex.h>\n", ""))
    for compiler, file in (("cc", "main.c"), ("g++", "main.cpp")):
        shell(compiler, file, "odd.o", "-o", "main")
        assert shell("./main") == "0 113"


def test_work_bytes_of_any_size(build: Callable[..., Any], tmp_path: Path) -> None:
    function = ExportedFunction("g", "g", "value", ("n", "m"), (), (), "64*floordiv(n - 3, 2) + max(n, m)")
    driver = "define hidden i32 @g_driver(ptr %d, ptr %a, ptr %w, ptr %e) nounwind { ret i32 0 }"
    (tmp_path / "libg.so").write_bytes(build((function,), "g", driver).library)
    library = ctypes.CDLL(str(tmp_path / "libg.so"))
    library.g_work_bytes.restype = ctypes.c_size_t
    found = [library.g_work_bytes(ctypes.c_int64(n), ctypes.c_int64(m)) for n, m in ((8, 2), (3, 100), (0, 100), (0, 500), (2, 1))]
    assert found == [64 * 2 + 8, 100, 0, 500 - 128, 0]  # never negative
    statuses = [library.g(ctypes.c_int64(n), ctypes.c_int64(m), None) for n, m in ((0, 100), (8, 2), (3, -1))]
    assert statuses == [RT_OK, RT_E_WORKSPACE, RT_E_SHAPE]


def test_failed_checks_come_back_by_number(build: Callable[..., Any], tmp_path: Path) -> None:
    function = ExportedFunction("h", "h", "value", ("k",), (), (), checks=("zero", "one", "two"))
    driver = """define hidden i32 @h_driver(ptr %d, ptr %a, ptr %w, ptr %e) nounwind {
      %k = load i64, ptr %d
      %status = trunc i64 %k to i32
      ret i32 %status
    }"""
    (tmp_path / "libh.so").write_bytes(build((function,), "h", driver).library)
    library = ctypes.CDLL(str(tmp_path / "libh.so"))
    assert [library.h(ctypes.c_int64(k), None) for k in range(4)] == [RT_OK, RT_E_CHECK, RT_E_CHECK + 1, RT_E_CHECK + 2]


def test_an_element_type_without_a_c_type_is_refused() -> None:
    function = ExportedFunction("f", "f", "value", (), (ArgSpec("x", "bf16", ()),), ())
    with pytest.raises(Unsupported, match="x has element type bf16"):
        c_header("f", [function])
