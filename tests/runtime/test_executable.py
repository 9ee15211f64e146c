"""The ctypes way into a compiled graph, with and without a known object layout."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rustorch.artifact import ArgSpec
from rustorch.errors import ArgumentError, CompilerBug, DTypeError, ShapeError, Unsupported, UserError
from rustorch.runtime import layout
from rustorch.runtime.entry import make_entry
from rustorch.runtime.executable import Executable, size_function
from tests.runtime.kernels import (
    ARRAYS,
    CHECKED,
    NOTHING,
    THROUGH_WORK,
    Odd,
    counting,
    double_and_sum,
    executable,
    f32,
    f64,
    loaded,
    misaligned,
    planned,
    slow,
)


@pytest.fixture(params=["layout", "no layout"], autouse=True)
def known_layout(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Every test here runs twice: objects readable, and everything through public attributes."""
    if request.param == "no layout":
        monkeypatch.setattr(layout, "probe", lambda: None)
    return request.param == "layout"


@pytest.fixture
def static() -> Executable:
    return executable(double_and_sum(8), [f32("x", 8)], [f32("s"), f32("y", 8)])


@pytest.fixture
def symbolic() -> Executable:
    return executable(double_and_sum(None), [f32("x", "n")], [f32("s"), f32("y", "n")], dims=("n",))


def test_run(static: Executable) -> None:
    s, y = static.run([counting()])
    assert (s.shape, s.dtype, float(s)) == ((), np.float32, 28.0)
    assert y.tolist() == [2.0 * k for k in range(8)]
    assert [one.tolist() for one in static([counting()])] == [s.tolist(), y.tolist()]


def test_entries_need_a_layout(known_layout: bool) -> None:
    if known_layout:
        plan, code = planned(ARRAYS)
        assert float(make_entry(plan, code, loaded(double_and_sum(8)), "f", slow)(counting())[0]) == 28.0
    else:
        with pytest.raises(Unsupported, match="call the Executable instead"):
            make_entry(None, None, None, "f", slow)  # type: ignore[arg-type]  # refused before any is looked at


@pytest.mark.parametrize(
    "unusual",
    [counting(16)[::2], counting()[::-1], misaligned(8), counting().view(Odd), np.frombuffer(counting().tobytes(), np.float32)],
    ids=["strided", "reversed", "misaligned", "subclass", "read only"],
)
def test_arrays_that_are_copied_or_only_read(static: Executable, unusual: Any) -> None:
    before = unusual.copy()
    assert static.run([unusual])[1].tolist() == (2 * before).tolist()
    assert (unusual == before).all()


@pytest.mark.parametrize(
    ("arrays", "error", "words"),
    [
        ([], ArgumentError, ["takes 1 inputs", "got 0", "x: f32[8]"]),
        ([counting()] * 2, ArgumentError, ["takes 1 inputs", "got 2"]),
        ([3.0], ArgumentError, ["input x: f32[8] must be a numpy array", "got float"]),
        ([counting(8, np.float64)], DTypeError, ["input x: f32[8] has the wrong element type", "got f64[8]"]),
        ([counting(8, ">f4")], DTypeError, ["wrong element type", "got >f4[8]"]),
        ([counting().view("m8[s]")], DTypeError, ["got timedelta64[s][4]"]),
        ([counting(9)], ShapeError, ["input x: f32[8] has the wrong size in axis 0", "got f32[9]"]),
        ([counting(9)[::-1]], ShapeError, ["got f32[9]"]),
        ([counting().reshape(2, 4)], ShapeError, ["wrong number of dimensions", "got f32[2, 4]"]),
    ],
)
def test_refusals_say_what_was_expected_and_found(static: Executable, arrays: list[Any], error: type[Exception], words: list[str]) -> None:
    with pytest.raises(error) as found:
        static.run(arrays)
    assert [word for word in words if word not in str(found.value)] == []


@pytest.mark.parametrize("count", [0, 1, 2, 7, 5000])
def test_symbolic_sizes(symbolic: Executable, count: int) -> None:
    for _ in range(2):
        s, y = symbolic.run([counting(count)])
        assert y.tolist() == (2 * counting(count)).tolist()
        assert float(s) == (counting(count).cumsum()[-1] if count else 0.0)


def test_many_sizes_are_not_all_remembered(symbolic: Executable) -> None:
    for count in range(200):
        assert symbolic.run([counting(count)])[1].shape == (count,)
    assert len(symbolic._calls) <= 64


def test_conflicting_sizes_name_both_inputs() -> None:
    f = executable(NOTHING, [f32("x", "n", 3), f32("w", "2*n", "m"), f32("v", "m")], [f32("y", "n", "m")], dims=("n", "m"))
    good = [np.zeros(shape, np.float32) for shape in ((4, 3), (8, 5), (5,))]
    assert f.run(good)[0].shape == (4, 5)
    with pytest.raises(ShapeError) as found:
        f.run([good[0], np.zeros((9, 5), np.float32), good[2]])
    for words in ("input w: f32[2*n, m] has the wrong size in axis 0", "got f32[9, 5]", "n = 4 is the size of axis 0 of x, f32[4, 3]"):
        assert words in str(found.value)
    with pytest.raises(ShapeError, match=r"input v: f32\[m\] has the wrong size in axis 0"):
        f.run([good[0], good[1], np.zeros(6, np.float32)])
    with pytest.raises(ShapeError, match=r"input x: f32\[n, 3\] has the wrong size in axis 1"):
        f.run([np.zeros((4, 2), np.float32), *good[1:]])


def test_a_dimension_that_no_input_has() -> None:
    with pytest.raises(CompilerBug, match="no input has a dimension of size n"):
        executable(NOTHING, [f32("x", "2*n")], [], dims=("n",))


def test_given_outputs(static: Executable) -> None:
    s, y = np.empty((), np.float32), np.empty(8, np.float32)
    results = static.run([counting()], [s, y])
    assert results[0] is s and results[1] is y and float(s) == 28.0 and y[7] == 14.0


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda x: [], ArgumentError, "gives 2 outputs"),
        (lambda x: [x, 3], ArgumentError, "must be a numpy array"),
        (lambda x: [np.empty((), np.float32), np.empty(8)], DTypeError, "output y: f32[8] has the wrong element type\n  got f64[8]"),
        (lambda x: [np.empty((), np.float32), np.empty(7, np.float32)], ShapeError, "output y: f32[8] has the wrong shape\n  got f32[7]"),
        (lambda x: [np.empty((), np.float32), np.empty(16, np.float32)[::2]], ArgumentError, "got f32[8] (strided)"),
        (lambda x: [np.empty((), np.float32), misaligned(8)], ArgumentError, "got f32[8] (misaligned)"),
        (lambda x: [np.empty((), np.float32), np.frombuffer(bytes(32), np.float32)], ArgumentError, "got f32[8] (read only)"),
        (lambda x: [np.empty((), np.float32), x], ArgumentError, "overlaps an input"),
    ],
)
def test_given_outputs_that_do_not_fit(static: Executable, make: Callable[[Any], list[Any]], error: type[Exception], words: str) -> None:
    x = counting()
    outputs = make(x)
    if len(outputs) == 2 and outputs[0] is x:
        outputs[0] = np.empty((), np.float32)
    with pytest.raises(error) as found:
        static.run([x], outputs)
    assert words in str(found.value)
    assert x.tolist() == list(range(8))


def test_failing_checks() -> None:
    f = executable(CHECKED, [f32("x")], [f32("y")], checks=("x must not be negative",))
    assert f.run([np.array(2, np.float32)])[0] == 2
    with pytest.raises(UserError, match=r"^x must not be negative$"):
        f.run([np.array(-2, np.float32)])
    with pytest.raises(CompilerBug, match="returned 1"):
        executable(CHECKED, [f32("x")], [f32("y")]).run([np.array(-2, np.float32)])


def test_unknown_element_types() -> None:
    with pytest.raises(DTypeError, match="q7"):
        executable(NOTHING, [ArgSpec("x", "q7", ())], [])


def test_threads_share_an_executable() -> None:
    f = executable(THROUGH_WORK, [f64("x", "n")], [f64("y", "n")], dims=("n",), work_bytes="8*n")
    wrong: list[int] = []

    def hammer(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(100):
            x = rng.random(int(rng.integers(0, 20_000)))
            if not (f.run([x])[0] == 3 * x).all():
                wrong.append(len(x))

    threads = [threading.Thread(target=hammer, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_size_functions() -> None:
    sizes = {"n": 7, "m": 3}
    cases = {"n": 7, "2*n + 1": 15, "n*m - 4": 17, "floordiv(n - 10, 2)": -2, "mod(n - 10, 4)": 1, "min(n, m)": 3, "max(2*m, n)": 7}
    assert {text: size_function(text)(sizes) for text in cases} == cases
    assert size_function(12)({}) == 12
    for text in ("n.real", "__import__('os')", "(lambda: 1)()", "[n][0]", "n if m else 1"):
        with pytest.raises(CompilerBug, match="not a size"):
            size_function(text)
