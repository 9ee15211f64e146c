"""When recorded programs are compiled: not at first sight, unless that pays."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import rustorch
from rustorch import compiler, nn, optim
from rustorch.compiler import stepwise
from rustorch.config import config
from rustorch.frontend.explain import journal
from rustorch.frontend.sight import OFTEN
from rustorch.frontend.trie import trie


@pytest.fixture(autouse=True)
def second_sight(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As users have it: the other tests compile at once."""
    rustorch.sync()
    monkeypatch.setattr(config, "sight", 2)
    yield
    rustorch.sync()


def compiles() -> int:
    return compiler.statistics.compiles


def bits(x: rustorch.Tensor) -> bytes:
    return bytes(x.numpy().tobytes())


def test_a_program_is_compiled_when_it_is_seen_again_with_the_same_bits() -> None:
    x = rustorch.tensor(np.random.default_rng(0).normal(size=(7, 11)).astype(np.float32))

    def program() -> rustorch.Tensor:
        return ((x - x.mean(dim=1, keepdim=True)).exp().sum(dim=0) @ x.tanh().T * 1.01171875).sigmoid()

    before, stepped = compiles(), journal.stepwise
    first = bits(program())
    assert (compiles() - before, journal.stepwise - stepped) == (0, 1)
    second = bits(program())
    assert (compiles() - before, journal.stepwise - stepped) == (1, 1)
    assert bits(program()) == first == second
    assert compiles() - before == 1


def test_a_gradient_has_the_same_bits_at_every_sight() -> None:
    w = rustorch.tensor(np.random.default_rng(1).normal(size=(5, 4)), requires_grad=True)
    seen = []
    for _ in range(3):
        w.grad = None
        loss = (w.exp().sum(dim=1).log() * w.sum(dim=1).tanh()).mean()
        loss.backward()
        seen.append((bits(loss.detach()), bits(w.grad)))
    assert seen[0] == seen[1] == seen[2]


def test_known_operations_need_nothing_new_for_another_shape() -> None:
    rng = np.random.default_rng(2)
    for rows, columns in ((3, 4), (5, 2), (17, 64), (1, 9)):
        known = len(stepwise._singles)
        before = compiles()
        x = rustorch.tensor(rng.normal(size=(rows, columns)))
        y = (x.exp() / x.exp().sum()).log()
        assert np.allclose(y.numpy(), np.log(np.exp(x.numpy()) / np.exp(x.numpy()).sum()))
        assert compiles() == before
        if rows == 5:
            assert len(stepwise._singles) == known
    x = rustorch.tensor(rng.normal(size=300).astype(np.float32))
    known = len(stepwise._singles)
    assert ((x[1:] - x[:-1]) * 2 + 1 > 0).reshape(13, 23).T.tolist()  # numpy has the bits of all of these
    assert len(stepwise._singles) == known


def test_much_to_do_is_compiled_at_once() -> None:
    x = rustorch.ones(4_000_000)
    before = compiles()
    y = ((x + 1) * 3 - x) * (x - 0.5)
    rustorch.sync()
    assert compiles() == before + 1
    assert y[5].item() == 2.5


def test_a_training_step_does_not_wait_twice() -> None:
    """Its program is compiled at once where the singles that it lacks are dear, and later where they are there."""
    rustorch.manual_seed(0)
    model = nn.Sequential(nn.Linear(9, 8), nn.Tanh(), nn.Linear(8, 7), nn.Sigmoid(), nn.Linear(7, 3))
    opt = optim.SGD(model.parameters(), lr=0.1)
    x, y = rustorch.randn(6, 9), rustorch.tensor([0, 1, 2, 0, 1, 2])
    rustorch.sync()
    stepwise._singles.clear()
    stepped, before = journal.stepwise, compiles()

    def step() -> float:
        opt.zero_grad()
        loss = nn.CrossEntropyLoss()(model(x), y)
        loss.backward()
        opt.step()
        return float(loss)

    losses = [step() for _ in range(3)]
    assert journal.stepwise == stepped
    assert compiles() - before == 2  # forward and backward; the step of the optimiser
    assert losses[2] < losses[1] < losses[0]


def test_what_runs_node_by_node_raises_the_same_errors() -> None:
    x, indices = rustorch.tensor([1.0, 2.0, 3.0]), rustorch.tensor([0, 5])
    said = set()
    for _ in range(3):
        with pytest.raises(IndexError, match="index 5 is out of bounds for dimension 0 with size 3") as caught:
            x[indices].tolist()
        said.add(str(caught.value))
        rustorch.sync()
        with pytest.raises(IndexError, match="index 5 is out of bounds"):
            rustorch.zeros(3).scatter_add(0, indices, x[:2]).tolist()
        rustorch.sync()
    assert len(said) == 1
    assert (x * 2).tolist() == [2.0, 4.0, 6.0]


def test_results_are_no_views_of_what_was_given() -> None:
    x = rustorch.tensor([1.0, 2.0, 3.0, 4.0])
    y, z = x.exp().reshape(2, 2), x.detach().clone()
    both = y.T, y + 0
    rustorch.sync()
    y.mul_(2)
    z.add_(1)
    rustorch.sync()
    assert x.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert z.tolist() == [2.0, 3.0, 4.0, 5.0]
    assert np.allclose(both[0].numpy(), 2 * np.exp([[1.0, 3.0], [2.0, 4.0]]))
    assert np.allclose(both[1].numpy(), np.exp([[1.0, 2.0], [3.0, 4.0]]))


def test_explain_tells_what_ran_node_by_node_and_why_something_was_compiled() -> None:
    x = rustorch.tensor([1.0, 2.0])
    for _ in range(2):
        (x.sin() * 1.00390625).tolist()
    told = rustorch.explain()
    assert f"{journal.stepwise} of which ran node by node at first sight" in told
    assert "program compiled: it was seen again" in told


# --- Python numbers that change ---------------------------------------------------------------------------------------


def test_a_learning_rate_that_decays_is_a_constant_then_an_input() -> None:
    w = rustorch.tensor([1.0, -2.0, 3.0], requires_grad=True)
    expected = np.array([1.0, -2.0, 3.0])
    rate = 0.25
    before = -1
    for turn in range(8):
        w.grad = None
        (w * w).sum().backward()
        with rustorch.no_grad():
            w -= w.grad * rate
        rustorch.sync()
        expected = expected - 2 * expected * rate
        rate *= 0.75
        if turn == 3:  # a constant; an input, seen for the first time; again; from then on nothing is new
            before, recorded = compiles(), journal.recorded
    assert (compiles(), journal.recorded) == (before, recorded)
    assert np.allclose(w.detach().numpy(), expected, rtol=1e-6)
    assert "became an input" in rustorch.explain()


def test_a_temperature_that_changes_keeps_its_gradient_right() -> None:
    x = rustorch.tensor([0.5, 1.5, -0.5], dtype=rustorch.float64, requires_grad=True)
    for temperature in (1.0, 2.0, 3.0, 4.0, 1.0, 2.0):
        x.grad = None
        (x / temperature).exp().sum().backward()
        assert np.allclose(x.grad.numpy(), np.exp(x.detach().numpy() / temperature) / temperature, rtol=1e-12)


def test_a_number_in_two_places_and_of_two_types() -> None:
    n = rustorch.tensor([4, 6])
    for k in (2, 3, 4):
        assert ((n + k) * k).tolist() == [(4 + k) * k, (6 + k) * k]
        assert (n + float(k)).dtype is rustorch.float32
        assert (n + k).dtype is rustorch.int64
    assert (n + True).tolist() == [5, 7]


# --- Entries ----------------------------------------------------------------------------------------------------------


def test_a_program_that_runs_often_gets_an_entry_and_the_same_results() -> None:
    x, w = rustorch.tensor([[1.0, -2.0], [0.5, 4.0]]), rustorch.tensor([[0.5, 1.0], [2.0, -1.0]])
    before, seen = len(entries()), []
    for _ in range(OFTEN + 4):
        y = (x @ w).tanh()
        z, copy = y.sum(), x + 0.0
        rustorch.sync()
        seen.append((bits(y), bits(z), bits(copy)))
    assert len(set(seen)) == 1
    assert len(entries()) == before + 1


def entries() -> list[Any]:
    return [program for step in trie.steps() for _, program in step.programs.values() if program._entry is not None]


def test_an_entry_takes_arrays_of_any_layout() -> None:
    base = np.arange(24, dtype=np.float64).reshape(4, 6)
    layouts = [base.copy(), np.asfortranarray(base), base[::-1][::-1], np.ascontiguousarray(base.T).T]
    for turn in range(3 * OFTEN):
        x = rustorch.from_numpy(layouts[turn % 4])
        y = x * 2.5 + 1
        assert (y.numpy() == base * 2.5 + 1).all()


def test_results_of_an_entry_are_new_each_time() -> None:
    x = rustorch.tensor([1.0, 2.0])
    kept = []
    for turn in range(OFTEN + 6):
        y = x * 3 + 0.75
        rustorch.sync()
        y.numpy()[0] = turn
        kept.append(y)
    assert [y.tolist() for y in kept] == [[float(turn), 6.75] for turn in range(OFTEN + 6)]


def test_threads_share_an_entry() -> None:
    def work(k: int) -> None:
        x = rustorch.tensor(np.full(50_000, float(k)))
        for _ in range(OFTEN * 3):
            results[k].append(float((x * 2 + 1).sum()))

    results: list[list[float]] = [[] for _ in range(4)]
    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [[50_000 * (2.0 * k + 1)] * (OFTEN * 3) for k in range(4)]


def test_an_index_error_comes_out_of_an_entry_and_names_the_index() -> None:
    x = rustorch.tensor([1.0, 2.0, 3.0])
    inside, outside = rustorch.tensor([0, 2]), rustorch.tensor([0, 7])
    for _ in range(OFTEN + 3):
        assert x[inside].tolist() == [1.0, 3.0]
    with pytest.raises(IndexError, match="index 7 is out of bounds"):
        x[outside].tolist()
    rustorch.sync()
    assert x[inside].tolist() == [1.0, 3.0]
