"""Loaded functions: right results, precise refusals, and no compiler in the process."""

from __future__ import annotations

import copy
import inspect
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rustorch.aot.load import LEVEL_FLAGS, Library, host_level, load
from rustorch.aot.package import ExportedFunction
from rustorch.artifact import ArgSpec
from rustorch.codegen import target
from rustorch.errors import ArgumentError, DTypeError, ShapeError, Unsupported


@pytest.fixture(params=["demo", "demo.rta"])
def library(request: pytest.FixtureRequest, demo: Any, tmp_path: Path) -> Library:
    return load(demo.save(tmp_path / request.param))


@pytest.fixture
def loaded(build: Callable[..., Any], tmp_path: Path) -> Callable[..., Library]:
    """A function that exports one function with a driver that only succeeds, and loads it."""

    def make(function: ExportedFunction) -> Library:
        driver = f"define hidden i32 @{function.name}_driver(ptr %d, ptr %a, ptr %w, ptr %e) nounwind {{ ret i32 0 }}"
        return load(build((function,), "demo", driver).save(tmp_path / "made"))

    return make


X = np.arange(12, dtype=np.float32).reshape(4, 3)


def test_static_sizes(library: Library) -> None:
    value, gradient = library.quad(np.array([1.0, 2.0, 3.0]), 0.5)
    assert value == 7.0 and isinstance(value, np.float64)
    assert gradient.dtype == np.float64
    np.testing.assert_array_equal(gradient, [1.0, 2.0, 3.0])


def test_symbolic_sizes(library: Library) -> None:
    for n in (0, 1, 2, 7, 1000):
        x = np.arange(3 * n, dtype=np.float32).reshape(n, 3)
        y, first = library.affine(x, 2, -1, True)
        np.testing.assert_array_equal(y, x * 2 - 1)
        assert y.shape == (n, 3) and y.dtype == np.float32
        if n:
            assert first == y[0, 0]


def test_arguments_by_name(library: Library) -> None:
    y, _ = library.affine(flag=np.bool_(True), k=np.int64(3), x=X, s=np.float32(0.5))
    np.testing.assert_array_equal(y, X * np.float32(0.5) + 3)


def test_a_falsy_scalar(library: Library) -> None:
    np.testing.assert_array_equal(library.affine(X, 2.0, 1, False)[0], X)
    np.testing.assert_array_equal(library.affine(X, 2.0, 1, np.array(False))[0], X)


def test_results_are_new_and_aligned(library: Library) -> None:
    first, second = (library.affine(X, 1.0, 0, True)[0] for _ in range(2))
    assert first.ctypes.data % 64 == second.ctypes.data % 64 == 0
    assert not np.shares_memory(first, second) and not np.shares_memory(first, X)
    assert first.flags.writeable and first.flags.c_contiguous


def _unaligned(x: np.ndarray[Any, np.dtype[Any]]) -> Any:
    memory = np.zeros(x.nbytes + 1, np.uint8)
    memory[1:] = np.frombuffer(x.tobytes(), np.uint8)
    return memory[1:].view(x.dtype).reshape(x.shape)


@pytest.mark.parametrize(
    "layout",
    [np.asfortranarray, lambda x: np.repeat(x, 2, axis=0)[::2], lambda x: x[:, ::-1][:, ::-1], lambda x: x[::-1].copy()[::-1], _unaligned],
    ids=["fortran", "strided", "same", "reversed", "unaligned"],
)
def test_any_layout_is_taken(library: Library, layout: Callable[[Any], Any]) -> None:
    np.testing.assert_array_equal(library.affine(layout(X), 2.0, 1, True)[0], X * 2 + 1)


def test_a_read_only_array_is_taken(library: Library) -> None:
    x = X.copy()
    x.flags.writeable = False
    np.testing.assert_array_equal(library.affine(x, 1.0, 1, True)[0], X + 1)


class Wrapped:
    """Something that becomes an array, as tensors do."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return X


def test_what_becomes_an_array_is_taken(library: Library) -> None:
    np.testing.assert_array_equal(library.affine(Wrapped(), 1.0, 1, True)[0], X + 1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            (X.astype(np.float64), 1.0, 0, True),
            DTypeError,
            r"affine: x has element type float64; .* for float32\n.*\n.*x\.astype\('float32'\)",
        ),
        ((X.astype(">f4"), 1.0, 0, True), DTypeError, "affine: x has element type >f4"),
        ((X, np.float64(1), 0, True), DTypeError, "affine: s has element type float64"),
        ((X, 1.0, 1.5, True), DTypeError, "affine: k must be a int64 number, not 1.5"),
        ((X, True, 1, True), DTypeError, "affine: s must be a float32 number, not True"),
        ((X, 1.0, 1, 1), DTypeError, "affine: flag must be a bool number, not 1"),
        ((X, 1.0, 2**70, True), ArgumentError, f"affine: k: {2**70} is out of the range of int64"),
        ((X, 1e60, 1, True), ArgumentError, r"affine: s: 1e\+60 is out of the range of float32"),
        ((X[0], 1.0, 0, True), ShapeError, r"affine: x has rank 1 \(shape \(3,\)\), not 2\n  x: f32\[n, 3\]"),
        ((X.T.copy(), 1.0, 0, True), ShapeError, r"affine: x has length 4 on axis 1, not 3 \(shape \(3, 4\)\)\n  x: f32\[n, 3\]"),
        ((X, np.ones(1, np.float32), 0, True), ShapeError, r"affine: s has rank 1 \(shape \(1,\)\), not 0"),
        ((1.0, 1.0, 0, True), ShapeError, r"affine: x must be an array of shape \(n, 3\), not the number 1.0"),
        ((X.tolist(), 1.0, 0, True), ArgumentError, "affine: x must be a numpy array, not list; numpy.asarray makes one"),
        ((X, "1", 0, True), ArgumentError, "affine: s must be a numpy array or a number, not str"),
        ((X, None, 0, True), ArgumentError, "affine: s must be a numpy array or a number, not NoneType"),
        ((X, 1.0), ArgumentError, r"affine takes 4 arguments \(x, s, k, flag\); missing: k, flag"),
        ((X, 1.0, 0, True, 3), ArgumentError, r"affine takes 4 arguments \(x, s, k, flag\), not 5"),
        ((np.zeros((1001, 3), np.float32), 1.0, 0, True), ArgumentError, "affine for n = 1001: check 0 failed: n is at most 1000"),
    ],
)
def test_wrong_arguments_are_refused(library: Library, arguments: tuple[Any, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        library.affine(*arguments)


def test_wrong_names_are_refused(library: Library) -> None:
    with pytest.raises(ArgumentError, match="argument y is unknown: the arguments are x, a"):
        library.quad(np.ones(3), y=1.0)
    with pytest.raises(ArgumentError, match="argument x is given twice"):
        library.quad(np.ones(3), x=np.ones(3))
    with pytest.raises(AttributeError, match="package demo has no function 'cube': it has quad, affine"):
        library.cube


def test_sizes_are_solved_from_all_arguments(loaded: Callable[..., Library]) -> None:
    inputs = (ArgSpec("x", "f64", ("2*n + 1", "n + m")), ArgSpec("y", "f64", ("m",)), ArgSpec("z", "f64", ("floordiv(n, 2)", 4)))
    library = loaded(ExportedFunction("f", "f_f", "value", ("n", "m"), inputs, (ArgSpec("r", "f64", ("n", "m")),), "8*n*m"))
    shape = library.f(np.zeros((7, 5)), np.zeros(2), np.zeros((1, 4))).shape
    assert shape == (3, 2)
    with pytest.raises(
        ShapeError, match=r"f: x has length 6 on axis 1, not 5 .*\n  x: f64\[2\*n \+ 1, n \+ m\]\n  m = 2 by y axis 0\n  n = 3 by x axis 0"
    ):
        library.f(np.zeros((7, 6)), np.zeros(2), np.zeros((1, 4)))
    with pytest.raises(ShapeError, match=r"f: z has length 2 on axis 0, not 1"):
        library.f(np.zeros((7, 5)), np.zeros(2), np.zeros((2, 4)))
    with pytest.raises(ShapeError, match=r"f: x has length 8 on axis 0, not 7 .*\n.*\n  n = 3 by x axis 1"):
        library.f(np.zeros((8, 5)), np.zeros(2), np.zeros((1, 4)))


def test_two_axes_that_differ_name_where_the_size_came_from(loaded: Callable[..., Library]) -> None:
    inputs = (ArgSpec("x", "f64", ("n",)), ArgSpec("y", "f64", ("n",)))
    library = loaded(ExportedFunction("f", "f_f", "value", ("n",), inputs, ()))
    with pytest.raises(ShapeError, match=r"f: y has length 3 on axis 0, not 2 \(shape \(3,\)\)\n  y: f64\[n\]\n  n = 2 by x axis 0"):
        library.f(np.zeros(2), np.zeros(3))


def test_sizes_that_no_shape_fixes_are_named(loaded: Callable[..., Library]) -> None:
    library = loaded(ExportedFunction("f", "f_f", "value", ("n",), (ArgSpec("x", "f64", ("max(n, 4)",)),), ()))
    with pytest.raises(ShapeError, match=r"f: the shapes of the arguments do not fix n\n  x: f64\[max\(n, 4\)\], given \(4,\)"):
        library.f(np.zeros(4))


def test_every_element_type_passes_unchanged(build: Callable[..., Any], tmp_path: Path) -> None:
    """A driver that copies each scalar, through a value of the C function, to its result."""
    types = {"bool": "i8", "i32": "i32", "i64": "i64", "f32": "float", "f64": "double"}
    body = ""
    for k, type in enumerate(types.values()):
        body += f"""
  %from{k} = getelementptr ptr, ptr %args, i64 {k}
  %to{k} = getelementptr ptr, ptr %args, i64 {k + len(types)}
  %a{k} = load ptr, ptr %from{k}
  %b{k} = load ptr, ptr %to{k}
  %v{k} = load {type}, ptr %a{k}
  store {type} %v{k}, ptr %b{k}"""
    driver = f"define hidden i32 @copy_driver(ptr %dims, ptr %args, ptr %w, ptr %e) nounwind {{{body}\n  ret i32 0\n}}"
    inputs, outputs = (tuple(ArgSpec(f"{side}_{dtype}", dtype, ()) for dtype in types) for side in ("in", "out"))
    function = ExportedFunction("copy", "copy", "value", (), inputs, outputs)
    library = load(build((function,), "demo", driver).save(tmp_path / "copy"))
    given = (True, -(2**31), -(2**63), -0.0, 1e300)
    found = library.copy(*given)
    assert found == given
    assert [value.dtype.name for value in found] == ["bool", "int32", "int64", "float32", "float64"]
    assert np.signbit(found[3])


def test_documentation(library: Library) -> None:
    assert repr(library.quad) == "quad(x: f64[3], a: f64[]) -> (f64[], f64[3])"
    assert inspect.getdoc(library.quad) == (
        "quad(x: f64[3], a: f64[]) -> (f64[], f64[3])\n\nSum of squares, times a.\n\n"
        "Arguments:\n    x: f64[3]\n    a: f64[]\n\nResults:\n    value: f64[]\n    grad_x: f64[3]"
    )
    assert str(inspect.signature(library.affine)) == "(x, s, k, flag)"
    assert list(library.functions) == ["quad", "affine"]
    assert {"quad", "affine", "functions", "header"} <= set(dir(library))
    assert "int demo_quad(" in library.header
    assert library.graph.startswith("func @demo")
    assert repr(library).startswith("Library demo (x86-64-v2)\n  quad(")


def test_arguments_whose_names_are_no_python_names(loaded: Callable[..., Library]) -> None:
    inputs = (ArgSpec("lambda", "f64", ()), ArgSpec("layers.0.weight", "f64", (2,)))
    library = loaded(ExportedFunction("f", "f_f", "value", (), inputs, (ArgSpec("r", "f64", (2,)),)))
    assert library.f(1.0, np.ones(2)).shape == (2,)
    assert library.f(**{"layers.0.weight": np.ones(2), "lambda": 1.0}).shape == (2,)


def test_a_copy_calls_the_same_library(library: Library) -> None:
    assert copy.copy(library).quad(np.ones(3), 1.0)[0] == 3.0


def test_saving_over_a_loaded_package_gives_the_new_code(build: Callable[..., Any], tmp_path: Path) -> None:
    """The system's loader knows a library by its path and would hand out the old one."""
    function = ExportedFunction("f", "f_f", "value", (), (), (ArgSpec("r", "i64", ()),))
    libraries = []
    for number in (1, 2):
        driver = f"""define hidden i32 @f_driver(ptr %d, ptr %args, ptr %w, ptr %e) nounwind {{
          %r = load ptr, ptr %args
          store i64 {number}, ptr %r
          ret i32 0
        }}"""
        libraries.append(load(build((function,), "demo", driver).save(tmp_path / "same")))
    assert [library.f() for library in libraries] == [1, 2]


def test_the_manifest_may_be_named(demo: Any, tmp_path: Path) -> None:
    demo.save(tmp_path)
    assert load(tmp_path / "manifest.json").quad(np.ones(3), 1.0)[0] == 3.0


def test_threads_call_at_the_same_time(demo: Any, tmp_path: Path) -> None:
    library = load(demo.save(tmp_path))
    wrong: list[int] = []

    def work(k: int) -> None:
        x = np.full((100 + k, 3), k, np.float32)
        for _ in range(200):
            y, first = library.affine(x, 2.0, k, True)
            if not (y == 3 * k).all() or first != 3 * k:
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# Levels


def cpuinfo(*levels: str) -> str:
    flags = " ".join(sorted(set().union(*(LEVEL_FLAGS[level] for level in levels))))
    return f"processor\t: 0\nflags\t\t: {flags} syscall nx\n"


def test_levels_are_read_from_the_flags() -> None:
    assert host_level(cpuinfo("v1")) == "v1"
    assert host_level(cpuinfo("v1", "v2")) == "v2"
    assert host_level(cpuinfo("v1", "v3", "v4")) == "v1"
    assert host_level(cpuinfo("v1", "v2", "v3", "v4")) == "v4"
    assert host_level("") == ""


def test_the_compiler_and_the_loader_agree_on_levels() -> None:
    for levels in (("v1", "v2"), ("v1", "v2", "v3"), ("v1", "v2", "v3", "v4"), ("v1", "v2", "v4")):
        assert host_level(cpuinfo(*levels)) == target.host_level(cpuinfo(*levels))
    assert LEVEL_FLAGS.keys() - {"v1"} == target.LEVELS.keys()
    assert host_level() == target.host_level()


def test_a_higher_level_than_the_machine_s_is_refused(demo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[load.__module__], "host_level", lambda: "v2")
    load(demo.save(tmp_path / "low", level="v2"))
    with pytest.raises(Unsupported, match=r"compiled for x86-64-v3\n  this machine reaches x86-64-v2\n  Export it for a lower level"):
        load(demo.save(tmp_path / "high", level="v3"))
    with pytest.raises(Unsupported, match="compiled for an unknown instruction set level 'v9'"):
        load(demo.save(tmp_path / "odd", level="v9"))
    monkeypatch.setattr(sys.modules[load.__module__], "host_level", lambda: "")
    with pytest.raises(Unsupported, match="cpuinfo shows no x86-64 level"):
        load(tmp_path / "low")


# Without a compiler

PROGRAM = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("llvmlite", "networkx"):
            raise ImportError(f"{name} is not installed here")

sys.meta_path.insert(0, Blocked())
sys.modules["llvmlite"] = None
import numpy as np
from rustorch.aot.load import load

library = load(sys.argv[1])
value, gradient = library.quad(np.array([1.0, 2.0, 3.0]), 2.0)
y, first = library.affine(np.ones((5, 3), np.float32), 2.0, 1, True)
print(value, gradient.tolist(), y.sum(), first)
print([name for name, module in sys.modules.items() if module and name.split(".")[0] in ("llvmlite", "networkx")])
"""


@pytest.mark.parametrize("name", ["demo", "demo.rta"])
def test_it_runs_where_llvmlite_is_not_installed(demo: Any, tmp_path: Path, name: str) -> None:
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-W", "error", "-c", PROGRAM, str(demo.save(tmp_path / name))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": root})
    assert done.stderr == ""
    assert done.stdout == "28.0 [4.0, 8.0, 12.0] 45.0 3.0\n[]\n"
