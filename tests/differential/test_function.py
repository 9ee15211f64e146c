"""`autograd.Function` against PyTorch: one program, run with both libraries, must tell the same: results, order of calls, refusals."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rustorch
from tests.differential.beside import Programs, leaf

pytestmark = pytest.mark.oracle

program = Programs()


def told(x: Any) -> Any:
    """What a program tells, as lists and numbers."""
    if isinstance(x, (list, tuple)):
        return [told(each) for each in x]
    return x.detach().tolist() if hasattr(x, "detach") else x


def refusal(call: Callable[[], Any]) -> Any:
    """The kind of an error that PyTorch and we share, and the first words of its message."""
    try:
        found = call()
    except Exception as error:
        kinds = [k.__name__ for k in (NotImplementedError, RuntimeError, TypeError, ValueError) if isinstance(error, k)]
        return kinds[0], str(error).replace("torch.", "").partition("\n")[0][:60]
    return told(found)


def function(lib: Any, forward: Any, backward: Any, **others: Any) -> Any:
    """A Function of these rules."""
    methods = {name: staticmethod(rule) for name, rule in {"forward": forward, "backward": backward, **others}.items() if rule}
    return type("Made", (lib.autograd.Function,), methods)


def cube(lib: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x**3

    return function(lib, forward, lambda ctx, g: 3 * ctx.saved_tensors[0] ** 2 * g)


@program
def orders(lib: Any) -> Any:
    x = leaf(lib, 1.5, -2.0)
    y = cube(lib).apply(x)
    found = [y]
    for _ in range(3):
        (y,) = lib.autograd.grad(y.sum(), x, create_graph=True)
        found.append(y)
    return found


@program
def order_of_calls(lib: Any) -> Any:
    log: list[Any] = []

    def made(name: str) -> Any:
        def forward(ctx: Any, x: Any) -> Any:
            log.append(f"forward {name}")
            return x * 2

        def backward(ctx: Any, g: Any) -> Any:
            log.append((f"backward {name}", g.tolist(), lib.is_grad_enabled(), ctx.needs_input_grad))
            return g * 2

        return function(lib, forward, backward)

    a, b, c = made("a"), made("b"), made("c")
    x, w = leaf(lib, 1.0, 2.0), leaf(lib, 3.0, 4.0)
    h = a.apply(x)
    h.register_hook(lambda g: log.append(("hook", g.tolist())))
    y = (b.apply(h) + c.apply(w) * h).sum()
    y.backward()
    log.append((x.grad, w.grad))
    return log


@program
def several_results(lib: Any) -> Any:
    log: list[Any] = []

    def forward(ctx: Any, x: Any, k: Any) -> Any:
        y, z, flags = x * k, x + k, x > 0
        ctx.mark_non_differentiable(z)
        return y, z, flags, "name", x.sum()

    def backward(ctx: Any, *g: Any) -> Any:
        log.append(g)
        return g[0] * 3 + g[4], None

    x = leaf(lib, 1.0, -2.0)
    y, z, flags, name, total = function(lib, forward, backward).apply(x, 3)
    (y.sum() + 5 * total).backward()
    return log, x.grad, y.requires_grad, z.requires_grad, flags, name


@program
def without_materialized_gradients(lib: Any) -> Any:
    log: list[Any] = []

    def forward(ctx: Any, x: Any) -> Any:
        ctx.set_materialize_grads(False)
        return x * 2, x * 3

    def backward(ctx: Any, *g: Any) -> Any:
        log.append([each is None for each in g])
        return (0 if g[0] is None else g[0] * 2) + (0 if g[1] is None else g[1] * 3)

    x = leaf(lib, 1.0)
    f = function(lib, forward, backward)
    f.apply(x)[1].sum().backward()
    f.apply(x)[0].sum().backward()
    a, b = f.apply(x)
    (a + b).sum().backward()
    return log, x.grad


@program
def inputs_in_place_and_as_they_are(lib: Any) -> Any:
    def double(ctx: Any, x: Any) -> Any:
        ctx.mark_dirty(x)
        return x.mul_(2)

    in_place = function(lib, double, lambda ctx, g: g * 2)
    same = function(lib, lambda ctx, x: x, lambda ctx, g: g * 7)
    x = leaf(lib, 1.0, 2.0)
    z = x * 3
    y = in_place.apply(z)
    w = same.apply(z)
    (w * z).sum().backward()
    return y is z, w is z, x.grad, z, refusal(lambda: in_place.apply(x))


@program
def shapes_of_gradients(lib: Any) -> Any:
    found = []
    for shape in ((3,), (2, 3), (1,), (), (2,), (3, 1)):
        made = function(lib, lambda ctx, x: x * 1, lambda ctx, g, s=shape: lib.ones(s, dtype=lib.float64))
        for size in (1, 3):
            x = lib.ones(size, dtype=lib.float64, requires_grad=True)

            def call(x: Any = x, made: Any = made) -> Any:
                return lib.autograd.grad(made.apply(x).sum(), x)

            found.append(refusal(call))
    return found


@program
def wrong_gradients(lib: Any) -> Any:
    found = []
    answers: list[Callable[[Any], Any]] = [
        lambda g: g, lambda g: (g, g), lambda g: (g, None), lambda g: (g, None, None), lambda g: (g, None, g), lambda g: (3, None),
        lambda g: None, lambda g: (None, None),
    ]  # fmt: skip
    for answer in answers:
        made = function(lib, lambda ctx, x, k: x * k, lambda ctx, g, a=answer: a(g))

        def call(made: Any = made) -> Any:
            x = leaf(lib, 1.0)
            made.apply(x, 2).sum().backward()
            return x.grad

        found.append(refusal(call))
    return found


@program
def what_is_missing(lib: Any) -> Any:
    x = leaf(lib, 1.0)
    empty = function(lib, None, None)
    forward = function(lib, lambda ctx, x: x * 2, None)
    both = function(lib, lambda ctx, x: x * 2, lambda ctx, g: g, vjp=lambda ctx, g: g)

    def saving(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x, 3)
        return x

    return [
        refusal(lambda: empty.apply(x)),
        refusal(lambda: forward.apply(x)),
        refusal(lambda: forward.apply(x).sum().backward()),
        refusal(lambda: both.apply(x).sum().backward()),
        refusal(lambda: function(lib, saving, lambda ctx, g: g).apply(x)),
        refusal(lambda: cube(lib)()(x)),
    ]


@program
def a_second_time(lib: Any) -> Any:
    x = leaf(lib, 2.0)
    saved, plain = cube(lib), function(lib, lambda ctx, x: x * 2, lambda ctx, g: g * 2)

    def twice(made: Any, **options: Any) -> Any:
        x.grad = None
        y = made.apply(x)
        y.backward(**options)
        y.backward()
        return x.grad

    return [refusal(lambda: twice(saved)), refusal(lambda: twice(saved, retain_graph=True)), refusal(lambda: twice(plain))]


@program
def once_differentiable(lib: Any) -> Any:
    once = importlib.import_module(f"{lib.__name__}.autograd.function").once_differentiable

    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * x

    made = function(lib, forward, once(lambda ctx, g: 2 * ctx.saved_tensors[0] * g))

    def again() -> Any:
        x = leaf(lib, 2.0)
        (g,) = lib.autograd.grad((made.apply(x) ** 2).sum(), x, create_graph=True)
        g.sum().backward()
        return x.grad

    def alone() -> Any:
        x = leaf(lib, 2.0)
        (g,) = lib.autograd.grad(made.apply(x).sum(), x, create_graph=True)
        return g, g.requires_grad

    return refusal(again), told(alone())


@program
def numbers_in_between(lib: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        values = x.detach().numpy()
        ctx.slope = np.cos(values)
        return lib.from_numpy(np.sin(values))

    made = function(lib, forward, lambda ctx, g: lib.from_numpy(g.numpy() * ctx.slope))
    x = leaf(lib, 0.5, 1.0)
    z = x * 2
    ((made.apply(z) + z) * made.apply(x)).sum().backward()
    return np.round(x.grad.numpy(), 12).tolist()


@program
def transforms(lib: Any) -> Any:
    func = importlib.import_module(f"{lib.__name__}.func")

    def setup(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(inputs[0])
        ctx.save_for_forward(inputs[0])
        ctx.n = inputs[1]

    made = function(
        lib, lambda x, n=3: x**n, lambda ctx, g: (g * ctx.n * ctx.saved_tensors[0] ** (ctx.n - 1), None), setup_context=setup,
        jvp=lambda ctx, t, n: t * ctx.n * ctx.saved_tensors[0] ** (ctx.n - 1),
    )  # fmt: skip
    made.generate_vmap_rule = True
    x = lib.tensor([1.0, 2.0, 3.0], dtype=lib.float64)
    f = lambda x: made.apply(x, 3)  # noqa: E731
    return [
        func.grad(lambda x: f(x).sum())(x),
        func.grad(lambda x: func.grad(lambda x: f(x).sum())(x).sum())(x),
        func.vmap(f)(x),
        func.vmap(func.grad(f))(x),
        func.jvp(f, (x,), (x,)),
        func.jacrev(f)(x),
        refusal(lambda: func.grad(lambda x: cube(lib).apply(x).sum())(x)),
        refusal(lambda: func.vmap(cube(lib).apply)(x)),
    ]


@pytest.mark.parametrize("name", program)
def test_both_libraries_tell_the_same(name: str) -> None:
    torch = importlib.import_module("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected, found = told(program[name](torch)), told(program[name](rustorch))
    np.testing.assert_equal(found, expected)
