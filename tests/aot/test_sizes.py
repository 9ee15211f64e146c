"""One meaning of a size in Python, in C and in LLVM, and the same as in the graph."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rustorch.aot.sizes import C_MACROS, as_c, as_llvm, evaluate, solve, symbols
from rustorch.errors import ParseError
from rustorch.ir import dims
from rustorch.runtime.elf import shared_library

# Divisors are numbers other than 0, or expressions that are at least 1 for sizes from 0.
SIZES = [
    "7",
    "n",
    "64*n + 128",
    "-3*n*m + 2 - m",
    "floordiv(n, 4)",
    "floordiv(n - 9, 4)",
    "floordiv(n - 9, -4)",
    "mod(n - 9, 4)",
    "mod(n - 9, -4)",
    "mod(12, n + 1)",
    "floordiv(-n, m + 1)",
    "min(n, m) + max(n, 5)*min(2, m - 4)",
    "max(floordiv(n*m, 3), mod(m, 5))",
    "(n + 3) // 2 % 5",
]
GRID = [(n, m) for n in (0, 1, 2, 3, 8, 9, 10, 100) for m in (0, 1, 5, 7)]


def python(size: str, n: int, m: int) -> int:
    """What Python itself says."""
    functions = {"floordiv": lambda a, b: a // b, "mod": lambda a, b: a % b, "min": min, "max": max}
    value: int = eval(size, functions, {"n": n, "m": m})
    return value


@pytest.mark.parametrize("size", SIZES)
def test_python_gives_the_same_value(size: str) -> None:
    for n, m in GRID:
        assert evaluate(size, {"n": n, "m": m}) == python(size, n, m)


def test_llvm_gives_the_same_value(assemble: Callable[..., bytes], tmp_path: Path) -> None:
    text = ""
    for k, size in enumerate(SIZES):
        lines, value = as_llvm(size, map("t{}".format, count()))
        text += "\n".join([f"define i64 @size{k}(i64 %n, i64 %m) nounwind {{", *lines, f"  ret i64 {value}", "}", ""])
    path = tmp_path / "libsizes.so"
    path.write_bytes(shared_library([assemble(text)], [f"size{k}" for k in range(len(SIZES))], path.name))
    library = ctypes.CDLL(str(path))
    for k, size in enumerate(SIZES):
        function = library[f"size{k}"]
        function.argtypes, function.restype = [ctypes.c_int64] * 2, ctypes.c_int64
        assert [function(n, m) for n, m in GRID] == [python(size, n, m) for n, m in GRID], size


def test_a_symbolic_divisor_of_zero_does_not_trap(assemble: Callable[..., bytes], tmp_path: Path) -> None:
    lines, value = as_llvm("floordiv(12, n) + mod(12, n)", map("t{}".format, count()))
    text = "\n".join(["define i64 @size(i64 %n) nounwind {", *lines, f"  ret i64 {value}", "}"])
    path = tmp_path / "libsize.so"
    path.write_bytes(shared_library([assemble(text)], ["size"], path.name))
    assert [ctypes.CDLL(str(path)).size(ctypes.c_int64(n)) for n in (0, 1, 5)] == [12, 12, 4]


def test_c_gives_the_same_value(shell: Callable[..., str], tmp_path: Path) -> None:
    prints = "".join(f'      printf("%ld\\n", (long)({as_c(size, "(int64_t)({})".format)}));\n' for size in SIZES)
    lists = f"{{{', '.join(f'{{{n}, {m}}}' for n, m in GRID)}}}"
    (tmp_path / "main.c").write_text(
        f"#include <stdint.h>\n#include <stdio.h>\n{C_MACROS}\nint main(void) {{\n"
        f"  static const int grid[][2] = {lists};\n  for (int i = 0; i < {len(GRID)}; ++i) {{\n"
        f"      int n = grid[i][0], m = grid[i][1];\n{prints}  }}\n  return 0;\n}}\n"
    )
    shell("cc", "-std=c99", "-Wall", "-Werror", "main.c", "-o", "main")
    assert list(map(int, shell("./main").split())) == [python(size, n, m) for n, m in GRID for size in SIZES]


ATOMS = st.one_of(st.sampled_from(["n", "m"]), st.integers(-20, 20).map(lambda k: str(k) if k >= 0 else f"({k})"))
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from([" + ", " - ", "*"]), inner).map(lambda t: f"({t[0]}{t[1]}{t[2]})"),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda t: f"{t[0]}({t[1]}, {t[2]})"),
        st.tuples(st.sampled_from(["floordiv", "mod"]), inner, st.integers(1, 9)).map(lambda t: f"{t[0]}({t[1]}, {t[2]})"),
    ),
    max_leaves=8,
)


@given(EXPRESSIONS, st.integers(2, 50), st.integers(2, 50))
def test_the_graph_and_the_package_agree(text: str, n: int, m: int) -> None:
    """What a graph's sizes print has the value that the graph gives it."""
    size = eval(
        text, {"floordiv": lambda a, b: a // b, "mod": lambda a, b: a % b, "min": dims.minimum, "max": dims.maximum}, _graph_symbols()
    )
    assert evaluate(str(size), {"n": n, "m": m}) == dims.evaluate(size, {"n": n, "m": m}) == python(text, n, m)
    assert symbols(str(size)) == dims.symbols(size)


def _graph_symbols() -> dict[str, dims.Dim]:
    return {"n": dims.symbol("n"), "m": dims.symbol("m")}


@pytest.mark.parametrize(
    ("size", "value", "expected"),
    [
        ("n", 5, 5),
        ("2*n + 1", 9, 4),
        ("2*n + 1", 8, None),
        ("m - n", 3, 4),
        ("n*m", 21, 3),
        ("n*n", 1, 1),
        ("n*n", 9, None),
        ("floordiv(n, 2)", 4, None),
        ("floordiv(2*n, 2)", 4, 4),
        ("max(n, 3)", 3, None),
        ("floordiv(8, n)", 4, None),
        ("m", 7, None),
    ],
)
def test_solve(size: str, value: int, expected: int | None) -> None:
    assert solve(size, "n", value, {"m": 7}) == expected


@pytest.mark.parametrize(
    "text", ["", "n +", "f(n, 2)", "n.m", "n ** 2", "1.5", "True", "max(n)", "max(n, m, 2)", "n if m else 2", "'n'", "\0"]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ParseError, match="not a size"):
        symbols(text)
