"""The recorder: what is recognised, what is compiled, what is kept."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import threading
import tracemalloc
import warnings
import weakref

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rustorch
from rustorch import compiler
from rustorch.errors import ShapeError
from rustorch.frontend import explain, recorder
from rustorch.frontend import trie as trie_module
from rustorch.frontend.explain import journal
from rustorch.frontend.recorder import LIMIT, held
from rustorch.frontend.state import local
from rustorch.frontend.trie import Trie


def compiles() -> int:
    return compiler.statistics.compiles


def test_a_repeated_program_is_compiled_once() -> None:
    rustorch.sync()

    def step(x: rustorch.Tensor) -> float:
        return float((x * 3 + x.exp()).sum())

    x = rustorch.tensor([0.25, 0.5, 1.75])
    first = step(x)
    before, recorded = compiles(), journal.recorded
    for _ in range(5):
        assert step(x) == first
    assert compiles() == before
    assert journal.recorded == recorded


def test_a_number_is_a_constant_until_it_changes_and_an_input_from_then_on() -> None:
    x = rustorch.tensor([1.0, 2.0, 5.0])
    results = [(x * (0.125 * k)).tolist() for k in (1, 2)]
    before = compiles()
    results += [(x * (0.125 * k)).tolist() for k in range(3, 9)]
    assert compiles() == before
    assert results == [[0.125 * k, 0.25 * k, 0.625 * k] for k in range(1, 9)]


def test_zeros_of_both_signs_and_types_of_numbers_are_told_apart() -> None:
    x = rustorch.tensor([1.0, 2.0])
    assert np.signbit((x * -0.0).numpy()).all()
    assert not np.signbit((x * 0.0).numpy()).any()
    n = rustorch.tensor([1, 2])
    assert (n + 1).dtype is rustorch.int64
    assert (n + 1.0).dtype is rustorch.float32
    assert (n + True).dtype is rustorch.int64


def test_only_what_is_held_is_computed() -> None:
    x = rustorch.tensor([1.0, 2.0])
    kept = x + 1
    dropped = x * 7.5
    del dropped
    rustorch.sync()
    assert kept._array is not None
    base = x * 5
    view = base[0]
    del base
    values = local.segment.values
    assert len(held(values)) >= 2
    del view
    assert held(values) == []


def test_a_superset_serves_a_subset() -> None:
    rustorch.sync()
    x = rustorch.tensor([1.0, 4.0])

    def step(keep: bool) -> None:
        a = x * 1.375
        b = a + 2.625
        if not keep:
            del a
        b.tolist()

    step(True)
    before = compiles()
    step(False)
    assert compiles() == before


def test_errors_are_raised_on_the_line_and_leave_the_segment_usable() -> None:
    x, y = rustorch.tensor([1.0, 2.0]), rustorch.tensor([1.0, 2.0, 3.0])
    z = x + 1
    with pytest.raises(ShapeError, match=r"The size of tensor a \(2\) must match the size of tensor b \(3\)") as caught:
        z + y
    assert "test_recorder.py" in str(caught.value)
    assert (z * 2).tolist() == [4.0, 6.0]


def test_long_programs_close_at_the_limit() -> None:
    x = rustorch.tensor(0.0)
    for _ in range(LIMIT + 10):
        x = x + 1
    assert x.item() == LIMIT + 10


def test_another_thread_may_look_at_a_value() -> None:
    x = rustorch.tensor([1.0, 2.0]) * 2
    seen = []
    thread = threading.Thread(target=lambda: seen.append(x.tolist()))
    thread.start()
    thread.join()
    assert seen == [[2.0, 4.0]]
    assert (x + 1).tolist() == [3.0, 5.0]


def test_threads_record_at_the_same_time() -> None:
    def work(k: int) -> None:
        for i in range(20):
            x = rustorch.tensor([1.0 * k, 2.0], requires_grad=True)
            y = (x * x * 3).sum()
            y.backward()
            results[k].append(x.grad.tolist())
            assert i == len(results[k]) - 1

    results: list[list[list[float]]] = [[] for _ in range(4)]
    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert [r for k in range(4) for r in results[k]] == [[6.0 * k, 12.0] for k in range(4) for _ in range(20)]


def test_memory_does_not_grow_in_a_loop_that_reads_nothing() -> None:
    w = rustorch.randn(8, 8, requires_grad=True)
    x = rustorch.randn(4, 8)
    rustorch.sync()

    def steps(n: int) -> None:
        for _ in range(n):
            w.grad = None
            loss = ((x @ w).tanh() ** 2).mean()
            loss.backward()
            with rustorch.no_grad():
                w.sub_(w.grad * 0.01)

    steps(50)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    steps(400)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 20_000
    assert np.isfinite(w.detach().numpy()).all()


@pytest.mark.slow
def test_memory_does_not_grow_over_ten_thousand_steps() -> None:
    w = rustorch.randn(8, 8, requires_grad=True)
    x = rustorch.randn(4, 8)
    losses = []

    def steps(n: int) -> None:
        for _ in range(n):
            w.grad = None
            loss = ((x @ w).tanh() ** 2).mean()
            loss.backward()
            losses[:] = [loss]
            with rustorch.no_grad():
                w.sub_(w.grad * 0.01)

    steps(100)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    steps(10_000)
    gc.collect()
    assert tracemalloc.get_traced_memory()[0] - before < 50_000
    tracemalloc.stop()


def test_a_loss_that_is_added_up_does_not_hold_its_steps() -> None:
    w = rustorch.randn(8, 8, requires_grad=True)
    x = rustorch.randn(400, 8)
    total = 0.0

    def steps(n: int) -> None:
        nonlocal total
        for _ in range(n):
            w.grad = None
            loss = (x @ w).square().mean()
            loss.backward()
            total = total + loss

    steps(5)
    gc.collect()
    before = len(gc.get_objects())
    steps(50)
    gc.collect()
    assert len(gc.get_objects()) - before < 50 * 12


def test_explain_says_what_keeps_changing() -> None:
    x = rustorch.tensor([1.0, 2.0, 3.0, 4.0])
    for n in range(1, 4):
        (x + 0.5)[:n].tolist()
    told = rustorch.explain()
    assert "compiled:" in told
    assert "argument" in told
    assert repr(told) == str(told)


def test_a_line_that_always_compiles_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain, "SECONDS", 0.0)
    x = rustorch.tensor([1.0, 2.0])
    with pytest.warns(UserWarning, match="times in a row"):
        for k in range(1, explain.STREAK + 2):
            y = x
            for _ in range(k):
                y = y * 1.0625
            y.tolist()


def test_tensors_pickle() -> None:
    x = rustorch.tensor([[1.0, 2.0]], requires_grad=True)
    y = pickle.loads(pickle.dumps(x))
    assert y.tolist() == [[1.0, 2.0]]
    assert y.requires_grad
    assert y.is_leaf
    z = pickle.loads(pickle.dumps(rustorch.tensor([1, 2]) + 1))
    assert z.tolist() == [2, 3]
    assert pickle.loads(pickle.dumps(x * 2)).is_leaf  # as in PyTorch


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fork_while_a_segment_is_open() -> None:
    x = rustorch.tensor([1.0, 2.0]) * 3
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, repr((x + 1).tolist()).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 100) == b"[4.0, 7.0]"
    assert x.tolist() == [3.0, 6.0]


def test_spawn_and_eager_mode_in_a_new_interpreter() -> None:
    program = (
        "import rustorch as rt, pickle, sys\n"
        "x = rt.tensor([1.0, 2.0], requires_grad=True)\n"
        "y = ((x * 3).exp() + x).sum(); y.backward()\n"
        "h = rt.tensor([2.0]); h.add_(1).mul_(4)\n"
        "v = x.detach()[0:1] * 5\n"
        "print(x.grad.tolist(), h.tolist(), v.tolist(), rt.jit(lambda a: a * 2)(h).tolist())\n"
        "from rustorch import compiler\n"
        "print(compiler.statistics.compiles)\n"
    )
    environment = {**os.environ, "RUSTORCH_EAGER": "1"}
    shown = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True).stdout
    first, second = shown.splitlines()
    expected = (3 * np.exp(3 * np.array([1.0, 2.0], np.float32)) + 1).tolist()
    assert np.allclose(eval(first.split("] [")[0] + "]"), expected, rtol=1e-6)
    assert first.endswith("[12.0] [5.0] [24.0]")
    assert second == "0"


def test_the_import_is_light() -> None:
    program = "import sys, rustorch; print([m for m in ('llvmlite', 'networkx', 'sklearn') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"


def test_code_without_a_file_has_a_line() -> None:
    with pytest.raises(ShapeError) as caught:
        exec("import rustorch\nx = rustorch.tensor([1., 2.])\nx + rustorch.tensor([1., 2., 3.])", {})
    assert "<string>:3" in str(caught.value)


def test_no_warnings_in_ordinary_use() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = rustorch.tensor([0.0, 1.0])
        assert np.isnan((x / x).numpy()[0])
    assert local.segment is not None


def test_a_long_loop_closes_where_its_body_begins() -> None:
    x, y = rustorch.tensor(1.0), rustorch.tensor(0.5)
    before = journal.programs
    for _ in range(1500):
        x = x * 0.984375
        y = y + x
        x = x - 0.0625
        y = y.sin()
        x = x + y
        y = y * 0.5
        x = x.tanh()
    rustorch.sync()
    assert journal.closed["length"] >= 2
    assert journal.programs - before <= 3


def test_a_chain_of_two_hundred_thousand_operations() -> None:
    x = rustorch.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(200_000):
        y = y + 1
    y.backward()
    assert (x.grad.item(), y.item()) == (1.0, 200_001.0)
    del y


# --- What is remembered -----------------------------------------------------------------------------------------------


@pytest.fixture
def small_trie(monkeypatch: pytest.MonkeyPatch) -> Trie:
    """A trie of its own with room for 60 edges and 8 programs."""
    monkeypatch.setattr(trie_module, "EDGES", 60)
    monkeypatch.setattr(trie_module, "PROGRAMS", 8)
    small = Trie()
    monkeypatch.setattr(trie_module, "trie", small)
    monkeypatch.setattr(recorder, "trie", small)
    rustorch.sync()
    return small


def one_of_many(x: rustorch.Tensor, k: int) -> rustorch.Tensor:
    """The result of the k-th of 243 programs of five operations."""
    for place in range(5):
        x = (rustorch.sin, rustorch.cos, rustorch.exp)[k // 3**place % 3](x)
    return x


def edges_of(trie: Trie) -> int:
    return len(trie.steps()) - len(trie.roots)


@given(visits=st.lists(st.integers(0, 40), min_size=20, max_size=60))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_programs_are_forgotten_least_recently_used_first(small_trie: Trie, visits: list[int]) -> None:
    """Against a model: what was used within the last 3 different programs (of 6 edges each) is known."""
    x = rustorch.tensor([1.0, 2.0])
    recent: list[int] = []
    for k in visits:
        new = journal.recorded
        y = one_of_many(x, k)
        del y
        rustorch.sync()
        if k in recent[-3:]:
            assert journal.recorded == new
        recent = [other for other in recent if other != k] + [k]
        assert edges_of(small_trie) <= small_trie.edges <= 60 + 6
        assert small_trie.programs <= 8 + 1


def test_a_hot_program_survives_a_flood(small_trie: Trie) -> None:
    x = rustorch.tensor([1.0, 2.0])

    def hot(k: int) -> list[float]:
        return ((x * (1.0 + k)).sin() + 1.0).tolist()  # type: ignore[no-any-return]

    hot(1), hot(2)  # from here on the number is an input
    recorded, before = journal.recorded, compiles()
    for k in range(200):
        y = one_of_many(x, k)
        del y
        rustorch.sync()
        flood = journal.recorded
        hot(k)
        assert journal.recorded == flood
    assert compiles() == before
    assert small_trie.forgotten > 100
    assert journal.recorded > recorded + 200
    assert edges_of(small_trie) <= 60


def test_forgotten_programs_give_their_code_back(small_trie: Trie) -> None:
    x = rustorch.tensor([1.0, 2.0])
    rustorch.sync()
    (x * 1.0078125).tolist()
    ((_, program),) = next(step for step in small_trie.steps() if step.programs).programs.values()
    gone = weakref.ref(program)
    del program
    for k in range(30):
        y = x
        for _ in range(k):
            y = y + x
        y.tolist()
    gc.collect()
    assert gone() is None
    assert (x * 1.0078125).tolist() == [1.0078125, 2.015625]


def test_a_segment_that_is_open_while_its_beginning_is_forgotten(small_trie: Trie) -> None:
    x = rustorch.tensor([1.0, 2.0])
    rustorch.sync()
    y = x.sin().cos().exp()
    small_trie.shrink(0, 0)
    z = y.tanh() * 2
    assert np.allclose(z.numpy(), np.tanh(np.exp(np.cos(np.sin([1.0, 2.0])))) * 2)
    assert edges_of(small_trie) == 0
