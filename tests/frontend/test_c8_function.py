"""C8 of the checklist: `autograd.Function`. Each line twice, recorded and under `jit`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rustorch
from rustorch import aot
from rustorch.autograd import Function
from rustorch.autograd.function import once_differentiable
from rustorch.frontend.explain import journal
from tests.frontend.door import Door, leaf


class Cube(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        return 3 * x * x * g


class Exp(Function):
    """Saves its result."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (y,) = ctx.saved_tensors
        return g * y


class Double(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x * 2

    @staticmethod
    def backward(ctx: Any, *g: Any) -> Any:
        return g[0] * 2


def test_c8_71_contexts(door: Door) -> None:
    seen: list[Any] = []

    class Scale(Function):
        @staticmethod
        def forward(ctx: Any, x: Any, factor: float, other: Any, mode: str) -> Any:
            ctx.factor, ctx.mode = factor, mode
            ctx.save_for_backward(x, None, other)
            seen.append((ctx.needs_input_grad, rustorch.is_grad_enabled(), x.requires_grad))
            return x * factor

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            x, nothing, other = ctx.saved_tensors
            seen.append((ctx.factor, ctx.mode, nothing, rustorch.is_grad_enabled(), ctx.needs_input_grad))
            return g * ctx.factor + 0 * x * other, None, None, None

    def program(x: Any, other: Any) -> Any:
        y = Scale.apply(x, 3.0, other, "linear")
        y.sum().backward()
        return y, x.grad, y.grad_fn.name()

    y, gradient, name = door(program, leaf(1.0, 2.0), rustorch.ones(2))
    assert (y.tolist(), gradient.tolist(), name) == ([3.0, 6.0], [3.0, 3.0], "ScaleBackward")
    needs = (True, False, False, False)
    assert seen == [(needs, False, True), (3.0, "linear", None, False, needs)]


def test_c8_71_only_tensors_are_saved(door: Door) -> None:
    class Wrong(Double):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x, 3)
            return x

    with pytest.raises(TypeError, match=r"^save_for_backward can only save variables, but argument 1 is of type int"):
        door(Wrong.apply, leaf(1.0))


def test_c8_71_saved_values_are_given_up(door: Door) -> None:
    def twice(function: Any, x: Any, **kwargs: Any) -> Any:
        y = function.apply(x).sum()
        y.backward(**kwargs)
        y.backward()
        return x.grad

    with pytest.raises(RuntimeError, match=r"^Trying to backward through the graph a second time"):
        door(lambda x: twice(Cube, x), leaf(2.0))
    assert door(lambda x: twice(Cube, x, retain_graph=True), leaf(2.0)).tolist() == [24.0]
    assert door(lambda x: twice(Double, x), leaf(2.0)).tolist() == [4.0], "nothing was saved"


def test_c8_71_what_is_written_later_is_not_saved(door: Door) -> None:
    def program(x: Any) -> Any:
        z = x * 1
        y = Cube.apply(z)
        z.mul_(100)
        y.sum().backward()
        return x.grad

    assert door(program, leaf(2.0)).tolist() == [12.0]


def test_c8_72_differentiable_again(door: Door) -> None:
    def orders(x: Any) -> Any:
        y = (Cube.apply(x) * Exp.apply(x)).sum()
        found = []
        for _ in range(4):
            (y,) = rustorch.grad(y.sum(), x, create_graph=True)
            found.append(y)
        return tuple(found)

    x = 0.7
    polynomials = [[0, 0, 3, 1], [0, 6, 6, 1], [6, 18, 9, 1], [24, 36, 12, 1]]  # times exp(x)
    expected = [np.exp(x) * sum(c * x**k for k, c in enumerate(p)) for p in polynomials]
    found = door(orders, leaf(x, dtype=rustorch.float64))
    np.testing.assert_allclose([g.item() for g in found], expected, rtol=1e-14)


def test_c8_72_once_differentiable(door: Door) -> None:
    class Once(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, g: Any) -> Any:
            assert not rustorch.is_grad_enabled()
            return 2 * ctx.saved_tensors[0] * g

    def program(x: Any, again: bool) -> Any:
        (g,) = rustorch.grad((Once.apply(x) ** 2).sum(), x, create_graph=again)
        return rustorch.grad(g.sum(), x) if again else g

    assert door(lambda x: program(x, False), leaf(2.0)).tolist() == [32.0]
    with pytest.raises(RuntimeError, match=r"^trying to differentiate twice a function that was marked with @once_differentiable"):
        door(lambda x: program(x, True), leaf(2.0))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda g: (g,), r"^function BadBackward returned an incorrect number of gradients \(expected 2, got 1\)"),
        (lambda g: (g, g, g), r"^function BadBackward returned an incorrect number of gradients \(expected 2, got 3\)"),
        (lambda g: (g, g), r"^function BadBackward returned a gradient different than None at position 2, but the corresponding forward"),
        (lambda g: (3, None), r"^expected Variable or None \(got int\)"),
    ],
)
def test_c8_73_wrong_gradients(door: Door, returned: Any, message: str) -> None:
    class Bad(Function):
        @staticmethod
        def forward(ctx: Any, x: Any, k: Any) -> Any:
            return x * k

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return returned(g)

    with pytest.raises(RuntimeError, match=message):
        door(lambda x: Bad.apply(x, 2).sum().backward(), leaf(1.0, 2.0))


def test_c8_73_further_nones_are_allowed(door: Door) -> None:
    class Extra(Double):
        @staticmethod
        def backward(ctx: Any, *g: Any) -> Any:
            return g[0], None, None

    def program(x: Any) -> Any:
        Extra.apply(x).sum().backward()
        return x.grad

    assert door(program, leaf(1.0)).tolist() == [1.0]


def test_c8_74_shapes_and_types_of_gradients(door: Door) -> None:
    class Ones(Double):
        shape: tuple[int, ...] = (3,)

        @staticmethod
        def backward(ctx: Any, *g: Any) -> Any:
            return rustorch.ones(Ones.shape, dtype=rustorch.float64)

    def program(x: Any) -> Any:
        Ones.apply(x).sum().backward()
        return x.grad

    gradient = door(program, rustorch.tensor(2.0, requires_grad=True))
    assert (gradient.item(), gradient.dtype) == (3.0, rustorch.float32)
    Ones.shape = (5, 2)
    assert door(program, leaf(1.0, 2.0)).tolist() == [5.0, 5.0]
    Ones.shape = (3,)
    with pytest.raises(RuntimeError, match=r"^Function OnesBackward returned an invalid gradient at index 0 - got \[3\] but expected"):
        door(program, leaf(1.0, 2.0))


@pytest.mark.parametrize("materialize", [True, False])
def test_c8_75_gradients_that_are_not_there(door: Door, materialize: bool) -> None:
    seen: list[Any] = []

    class Pair(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.set_materialize_grads(materialize)
            return x * 2, rustorch.cat([x, x])

        @staticmethod
        def backward(ctx: Any, first: Any, second: Any) -> Any:
            seen.append(second if second is None else tuple(second.shape))
            return first * 2 if second is None else first * 2 + second.sum()

    def program(x: Any) -> Any:
        Pair.apply(x)[0].sum().backward()
        return x.grad

    assert door(program, leaf(1.0, 2.0)).tolist() == [2.0, 2.0]
    assert seen == [(4,) if materialize else None]


def test_c8_76_results_without_gradient(door: Door) -> None:
    shapes: list[Any] = []

    class Sorted(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            rounded, places = x.round(), (x * 0).to(rustorch.int64)
            ctx.mark_non_differentiable(rounded)
            return x * 3, rounded, places

        @staticmethod
        def backward(ctx: Any, g: Any, *others: Any) -> Any:
            shapes.append([tuple(o.shape) for o in others])
            return g * 3 + others[0]

    def program(x: Any) -> Any:
        y, rounded, places = Sorted.apply(x)
        y.sum().backward()
        return x.grad, (y.requires_grad, rounded.requires_grad, places.requires_grad)

    gradient, flags = door(program, leaf(1.0, 2.0))
    assert (gradient.tolist(), flags, shapes) == ([3.0, 3.0], (True, False, False), [[(2,), (2,)]])


def test_c8_76_inputs_written_in_place(door: Door) -> None:
    class Doubled(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            x.mul_(2)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return 2 * g

    def program(x: Any) -> Any:
        z = x * 5
        y = Doubled.apply(z)
        facts = (y is z, y.grad_fn.name(), z.is_leaf)
        (y * 1).sum().backward()
        return x.grad, z.detach(), facts

    gradient, z, facts = door(program, leaf(1.0, 3.0))
    assert (gradient.tolist(), z.tolist(), facts) == ([10.0, 10.0], [10.0, 30.0], (True, "DoubledBackward", False))
    with pytest.raises(RuntimeError, match=r"^a leaf Variable that requires grad has been used in an in-place operation"):
        door(Doubled.apply, leaf(1.0))

    class Forgotten(Doubled):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.mark_dirty(x)
            return x * 2

    with pytest.raises(RuntimeError, match=r"^Some elements marked as dirty during the forward method were not returned as output"):
        door(lambda x: Forgotten.apply(x * 1), leaf(1.0))


def test_c8_76_inputs_returned_as_they_are(door: Door) -> None:
    class Same(Double):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x

    def program(x: Any) -> Any:
        y = Same.apply(x)
        facts = (y is x, y.grad_fn.name(), x.is_leaf)
        y.sum().backward()
        return x.grad, facts

    gradient, facts = door(program, leaf(1.0))
    assert (gradient.tolist(), facts) == ([2.0], (False, "SameBackward", True))


def test_c8_77_backward_is_not_called_where_nothing_requires_grad(door: Door) -> None:
    class Never(Double):
        @staticmethod
        def backward(ctx: Any, *g: Any) -> Any:
            raise AssertionError("backward was called")

    def program(x: Any, plain: Any) -> Any:
        with rustorch.no_grad():
            y = Never.apply(x)
        z = Never.apply(plain)
        (x * 3).sum().backward()
        return y, z, (y.requires_grad, y.grad_fn, z.requires_grad, z.is_leaf)

    y, z, facts = door(program, leaf(1.0), rustorch.ones(1))
    assert (y.tolist(), z.tolist(), facts) == ([2.0], [2.0], (False, None, False, True))


def test_c8_77_only_where_gradients_are_asked_for(door: Door) -> None:
    calls: list[str] = []

    class Noted(Double):
        @staticmethod
        def backward(ctx: Any, *g: Any) -> Any:
            calls.append("backward")
            return g[0] * 2

    def program(x: Any, w: Any) -> Any:
        return rustorch.grad((Noted.apply(x) + w).sum(), w)

    assert door(program, leaf(1.0), leaf(1.0))[0].tolist() == [1.0]
    assert calls == []


def test_c8_78_none_for_a_gradient_that_is_needed(door: Door) -> None:
    class Silent(Double):
        @staticmethod
        def backward(ctx: Any, *g: Any) -> Any:
            return None

    def program(x: Any) -> Any:
        Silent.apply(x).sum().backward()
        return x.grad is None

    assert door(program, leaf(1.0)) is True


def test_c8_78_two_paths_add_up_and_hooks_see_the_sum(door: Door) -> None:
    def program(x: Any) -> Any:
        seen = []
        z = x * 1
        z.register_hook(lambda g: seen.append(g))
        y = Cube.apply(z) + z * 10
        y.register_hook(lambda g: g * 2)
        y.sum().backward()
        return x.grad, seen[0], len(seen)

    gradient, seen, count = door(program, leaf(2.0))
    assert (gradient.tolist(), seen.tolist(), count) == ([44.0], [44.0], 1)


class Power(Function):
    """x^n, with a context set up by itself, and a rule for forward mode."""

    @staticmethod
    def forward(x: Any, n: int = 2) -> Any:
        return x**n

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, ctx.n = inputs
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        return g * ctx.n * x ** (ctx.n - 1), None

    @staticmethod
    def jvp(ctx: Any, t: Any, n: Any) -> Any:
        (x,) = ctx.saved_tensors
        return t * ctx.n * x ** (ctx.n - 1)


def test_c8_79_separate_contexts(door: Door) -> None:
    def program(x: Any) -> Any:
        Power.apply(x, 3).sum().backward()
        return x.grad

    assert door(program, leaf(2.0)).tolist() == [12.0]


def test_c8_79_transforms(door: Door) -> None:
    x = rustorch.tensor([1.0, 2.0, 3.0], dtype=rustorch.float64)
    f = lambda x: Power.apply(x, 3).sum()  # noqa: E731
    assert door(rustorch.func.grad(f), x).tolist() == [3.0, 12.0, 27.0]
    assert door(rustorch.func.grad(lambda x: rustorch.func.grad(f)(x).sum()), x).tolist() == [6.0, 12.0, 18.0]
    assert door(rustorch.vmap(lambda x: Power.apply(x, 3)), x).tolist() == [1.0, 8.0, 27.0]
    assert door(rustorch.vmap(rustorch.func.grad(lambda x: Power.apply(x, 3))), x).tolist() == [3.0, 12.0, 27.0]
    assert door(rustorch.func.grad(lambda x: rustorch.vmap(lambda x: Power.apply(x, 3))(x).sum()), x).tolist() == [3.0, 12.0, 27.0]
    value, tangent = door(lambda x: rustorch.func.jvp(lambda x: Power.apply(x, 3), (x,), (rustorch.ones_like(x),)), x)
    assert (value.tolist(), tangent.tolist()) == ([1.0, 8.0, 27.0], [3.0, 12.0, 27.0])
    assert door(rustorch.func.hessian(f), x).tolist() == [[6.0, 0.0, 0.0], [0.0, 12.0, 0.0], [0.0, 0.0, 18.0]]


def test_c8_79_contexts_inside_forward_are_refused_by_transforms(door: Door) -> None:
    message = "^In order to use an autograd.Function with functorch transforms"
    for transformed in (rustorch.func.grad(lambda x: Cube.apply(x).sum()), rustorch.vmap(Cube.apply)):
        with pytest.raises(RuntimeError, match=message):
            door(transformed, rustorch.ones(2))


class NumpySin(Function):
    """Looks at elements; so it says itself what it does with batches."""

    @staticmethod
    def forward(x: Any) -> Any:
        return rustorch.from_numpy(np.sin(x.detach().numpy()))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g * ctx.saved_tensors[0].cos()

    @staticmethod
    def vmap(info: Any, in_dims: Any, x: Any) -> Any:
        assert (info.batch_size, info.randomness, in_dims) == (3, "error", (0,))
        return NumpySin.apply(x), 0


def test_c8_79_rules_for_batches() -> None:
    x = rustorch.tensor(np.arange(6.0).reshape(3, 2), requires_grad=True)
    y = rustorch.vmap(lambda x: NumpySin.apply(x * 2).sum() + x[0])(x)
    np.testing.assert_allclose(y.detach().numpy(), np.sin(2 * x.detach().numpy()).sum(1) + x.detach().numpy()[:, 0], rtol=1e-14)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * np.cos(2 * x.detach().numpy()) + [1, 0], rtol=1e-14)

    class Both(NumpySin):
        generate_vmap_rule = True

    with pytest.raises(RuntimeError, match=r"^You tried to vmap over Both, but it has both generate_vmap_rule=True and an overridden vmap"):
        rustorch.vmap(Both.apply)(x)


def test_c8_79_rules_for_batches_of_operations(door: Door) -> None:
    class Scaled(Power):
        @staticmethod
        def vmap(info: Any, in_dims: Any, x: Any, n: Any) -> Any:
            assert in_dims == (0, None)
            return Power.apply(x, n).T, 1

    x = rustorch.tensor(np.arange(6.0).reshape(3, 2))
    found = door(lambda x: rustorch.func.grad(lambda x: rustorch.vmap(lambda x: Scaled.apply(x, 3))(x).sum())(x), x)
    np.testing.assert_allclose(found.numpy(), 3 * x.numpy() ** 2)
    inner = door(rustorch.vmap(rustorch.func.grad(lambda x: Scaled.apply(x, 3).sum())), x)
    np.testing.assert_allclose(inner.numpy(), 3 * x.numpy() ** 2)


def test_c8_80_keywords_and_other_results(door: Door) -> None:
    given: list[Any] = []

    class Mixed(Function):
        @staticmethod
        def forward(ctx: Any, x: Any, factor: float = 2.0, *, note: str = "") -> Any:
            return x * factor, note, None, 7

        @staticmethod
        def backward(ctx: Any, g: Any, *others: Any) -> Any:
            given.append(others)
            return g * 2, None

    def program(x: Any) -> Any:
        y, note, nothing, number = Mixed.apply(x, factor=2.0)
        y.sum().backward()
        return x.grad, (note, nothing, number)

    gradient, others = door(program, leaf(1.0))
    assert (gradient.tolist(), others, given) == ([2.0], ("", None, 7), [(None, None, None)])
    assert door(lambda x: Power.apply(x=x, n=4), leaf(2.0)).tolist() == [16.0]


def test_c8_81_legacy_forms(door: Door) -> None:
    with pytest.raises(RuntimeError, match=r"^Legacy autograd function with non-static forward method is deprecated"):
        door(lambda x: Cube()(x), leaf(1.0))

    class Nothing(Function):
        pass

    with pytest.raises(NotImplementedError, match=r"^You must implement the forward function for custom autograd.Function"):
        door(Nothing.apply, leaf(1.0))

    class Forward(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 1

    with pytest.raises(NotImplementedError, match=r"^You must implement either the backward or vjp method"):
        door(lambda x: Forward.apply(x).sum().backward(), leaf(1.0))

    class Both(Cube):
        @staticmethod
        def vjp(ctx: Any, g: Any) -> Any:
            return g

    with pytest.raises(RuntimeError, match=r"^Implementing both 'backward' and 'vjp' for a custom Function is not allowed"):
        door(lambda x: Both.apply(x).sum().backward(), leaf(1.0))


# --- Beyond PyTorch: compiled -----------------------------------------------------------------------------------------


class ByNumbers(Function):
    """Looks at elements, both ways."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        values = x.detach().numpy()
        ctx.slope = np.cos(values)
        return rustorch.from_numpy(np.sin(values))

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return rustorch.from_numpy(g.detach().numpy() * ctx.slope)


def test_looking_at_numbers_cuts_the_program(door: Door) -> None:
    def program(x: Any) -> Any:
        z = x * 2
        ((ByNumbers.apply(z) + z) * 3).sum().backward()
        return x.grad

    gradient = door.looking(program, leaf(0.5))
    if gradient is not None:
        np.testing.assert_allclose(gradient.tolist(), [6 * (np.cos(1.0) + 1)], rtol=1e-6)


def test_after_a_failure_everything_goes_on(door: Door) -> None:
    class Failing(Double):
        fails = True

        @staticmethod
        def backward(ctx: Any, *g: Any) -> Any:
            if Failing.fails:
                raise ValueError("boom")
            return g[0] * 2

    def program(x: Any) -> Any:
        y = Failing.apply(x).sum()
        with pytest.raises(ValueError, match=r"^boom$"):
            y.backward(retain_graph=True)
        assert rustorch.is_grad_enabled()
        Failing.fails = False
        y.backward()
        return x.grad

    assert door(program, leaf(1.0)).tolist() == [2.0]


def test_a_failing_forward_leaves_the_mode(door: Door) -> None:
    class Failing(Double):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            raise ValueError("boom")

    def program(x: Any) -> Any:
        with pytest.raises(ValueError, match=r"^boom$"):
            Failing.apply(x)
        return rustorch.is_grad_enabled(), (x * 2).requires_grad

    assert door(program, leaf(1.0)) == (True, True)


def test_gradients_of_a_jitted_function_and_again() -> None:
    f = rustorch.jit(lambda x: (Cube.apply(x) * Exp.apply(x)).sum())
    x = leaf(0.7, dtype=rustorch.float64)
    (g,) = rustorch.grad(f(x), x, create_graph=True)
    (h,) = rustorch.grad(g.sum(), x)
    np.testing.assert_allclose(g.item(), np.exp(0.7) * (3 * 0.7**2 + 0.7**3), rtol=1e-14)
    np.testing.assert_allclose(h.item(), np.exp(0.7) * (6 * 0.7 + 6 * 0.7**2 + 0.7**3), rtol=1e-14)


def test_what_backward_takes_from_outside_is_an_input() -> None:
    weight = rustorch.tensor([10.0])

    class Weighted(Double):
        @staticmethod
        def backward(ctx: Any, *g: Any) -> Any:
            return g[0] * weight

    f = rustorch.jit(lambda x: Weighted.apply(x).sum())
    x = leaf(1.0)
    assert rustorch.grad(f(x), x)[0].tolist() == [10.0]
    weight.fill_(20.0)
    assert rustorch.grad(f(x), x)[0].tolist() == [20.0]


def test_a_step_with_a_function_is_one_program() -> None:
    def step(x: Any) -> Any:
        (Cube.apply(x) * 2).sum().backward()
        found = x.grad
        x.grad = None
        return found

    seen = rustorch.inspect(step)(leaf(*map(float, range(64))))
    assert seen.text("fused").count("kernel @") == 1


def test_exported_ahead_of_time(tmp_path: Path) -> None:
    exported = aot.export(lambda x: Cube.apply(x).sum(), {"x": rustorch.f64["n"]}, derivatives=("value", "value_and_grad"), name="cube")
    exported.save(tmp_path / "cube")
    value, gradient = aot.load(tmp_path / "cube").value_and_grad(np.array([1.0, 2.0, 3.0]))
    assert (float(value), gradient.tolist()) == (36.0, [3.0, 12.0, 27.0])


def test_in_a_loop_the_program_is_recognised() -> None:
    x = leaf(2.0)
    for _ in range(4):
        x.grad = None
        Cube.apply(x * 1).sum().backward()
    before = journal.recorded, journal.programs
    for _ in range(3):
        x.grad = None
        Cube.apply(x * 1).sum().backward()
    assert (journal.recorded, journal.programs) == before
    assert x.grad.tolist() == [12.0]
