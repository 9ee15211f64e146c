"""C9 of the checklist: `autograd.functional`, transforms of functions, forward mode. Each line twice, recorded and under `jit`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rustorch
from rustorch import func, nn
from rustorch.autograd import GradcheckError, forward_ad, functional, gradcheck, gradgradcheck
from tests.frontend.door import Door, leaf


def vector(*values: float) -> Any:
    return rustorch.tensor(list(values), dtype=rustorch.float64)


def nested(x: Any) -> Any:
    """Containers of tensors as containers of lists."""
    if isinstance(x, tuple):
        return tuple(map(nested, x))
    return {k: nested(v) for k, v in x.items()} if isinstance(x, dict) else x.tolist()


def product(x: Any, y: Any) -> Any:
    return x * y, y.sum()


def energy(x: Any, y: Any) -> Any:
    return (x * x * y).sum()


# --- 82: autograd.functional ------------------------------------------------------------------------------------------

X, Y = (1.0, 2.0), (3.0, 5.0)
DIAGONAL = [[3.0, 0.0], [0.0, 5.0]]


@pytest.mark.parametrize("options", [{}, {"vectorize": True}, {"vectorize": True, "strategy": "forward-mode"}], ids=str)
def test_c9_82_jacobian(door: Door, options: dict[str, Any]) -> None:
    single = door(lambda x: functional.jacobian(lambda x: x * x, x, **options), vector(*X))
    assert nested(single) == [[2.0, 0.0], [0.0, 4.0]]
    blocks = door(lambda x, y: functional.jacobian(product, (x, y), **options), vector(*X), vector(*Y))
    assert nested(blocks) == ((DIAGONAL, [[1.0, 0.0], [0.0, 2.0]]), ([0.0, 0.0], [1.0, 1.0]))
    assert nested(door(lambda x: functional.jacobian(lambda x: rustorch.ones(2), x, **options), vector(*X))) == [[0.0, 0.0]] * 2
    scalar = door(lambda x: functional.jacobian(lambda x: x**3, x, **options), rustorch.tensor(2.0))
    assert scalar.tolist() == 12.0
    empty = door(lambda x: functional.jacobian(lambda x: x * 2, x, **options), rustorch.ones(0))
    assert empty.shape == (0, 0)


@pytest.mark.parametrize("strategy", ["reverse-mode", "forward-mode"])
def test_c9_82_hessian(door: Door, strategy: str) -> None:
    options = {"outer_jacobian_strategy": strategy, "vectorize": strategy == "forward-mode"}
    blocks = door(lambda x, y: functional.hessian(energy, (x, y), **options), vector(*X), vector(*Y))
    assert nested(blocks) == (([[6.0, 0.0], [0.0, 10.0]], [[2.0, 0.0], [0.0, 4.0]]), ([[2.0, 0.0], [0.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]))
    assert nested(door(lambda x: functional.hessian(lambda x: (x**3).sum(), x, **options), vector(*X))) == [[6.0, 0.0], [0.0, 12.0]]


def test_c9_82_products(door: Door) -> None:
    x, y, u, v = vector(*X), vector(*Y), vector(1.0, 10.0), vector(100.0, 1000.0)

    def program(x: Any, y: Any, u: Any, v: Any) -> Any:
        return (
            functional.vjp(product, (x, y), (u, u.sum())),
            functional.jvp(product, (x, y), (u, v)),
            functional.hvp(energy, (x, y), (u, v)),
            functional.vhp(energy, (x, y), (u, v)),
        )

    pulled, pushed, forward, reverse = door(program, x, y, u, v)
    values = ([3.0, 10.0], 8.0)
    assert nested(pulled) == (values, ([3.0, 50.0], [12.0, 31.0]))
    assert nested(pushed) == (values, ([103.0, 2050.0], 1100.0))
    assert nested(forward) == nested(reverse) == (23.0, ([206.0, 4100.0], [2.0, 40.0]))
    one = rustorch.tensor(2.0)
    for product_of, expected in ((functional.vjp, 12.0), (functional.jvp, 12.0), (functional.hvp, 12.0), (functional.vhp, 12.0)):
        assert door(lambda x, p=product_of: p(lambda x: x**3, x), one)[1].item() == expected, "v is one by itself"


def test_c9_82_results_have_a_history_only_if_asked(door: Door) -> None:
    def program(x: Any, create: bool) -> Any:
        j = functional.jacobian(lambda x: x**3, x, create_graph=create)
        g = functional.vhp(lambda x: (x**3).sum(), x, rustorch.ones_like(x), create_graph=create)[1]
        return (j.sum() + g.sum()).backward() if create else (j.requires_grad, g.requires_grad), x.grad

    assert door(lambda x: program(x, False), leaf(*X))[0] == (False, False)
    assert door(lambda x: program(x, True), leaf(*X))[1].tolist() == [12.0, 18.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: functional.jacobian(lambda x: rustorch.ones(2), x, strict=True), "Output 0 of the user-provided function does not"),
        (lambda x: functional.jacobian(lambda x, y: x, (x, x), strict=True), "Output 0 of the user-provided function is independent"),
        (
            lambda x: functional.jacobian(lambda x: x, x, strict=True, create_graph=True),
            "The jacobian of the user-provided function is independent of input 0. This is not allowed in strict mode when create_graph",
        ),
        (lambda x: functional.vjp(lambda x, y: x, (x, x), x, strict=True), "The output of the user-provided function is independent of"),
        (lambda x: functional.jvp(lambda x: rustorch.ones(2), x, x, strict=True), "Output 0 of the user-provided function does not"),
        (
            lambda x: functional.vhp(lambda x: x.sum(), x, x, strict=True),
            "While computing the hessian, found that the jacobian of the user-provided function with respect to input 0 is independent",
        ),
        (lambda x: functional.vjp(lambda x: x, x), "The vector v can only be None if the user-provided function returns a single Tensor"),
        (lambda x: functional.jvp(lambda x: x, x), "The vector v can only be None if the input to the user-provided function is a single"),
        (lambda x: functional.vjp(lambda x: x, x, rustorch.ones(3)), r"v has invalid size: should be .*\[2\]\) but got .*\[3\]\)"),
        (lambda x: functional.vjp(lambda x: (x, x), x, (x,)), "v is a tuple of invalid length: should be 2 but got 1"),
        (lambda x: functional.hvp(lambda x: x, x, x), "The Tensor returned by the function given to hvp should contain a single element"),
        (lambda x: functional.hessian(lambda x: x, x), "The Tensor returned by the function given to hessian should contain"),
        (lambda x: functional.jacobian(lambda x: x, x, strict=True, vectorize=True), ".*functional.jacobian: `strict=True` and"),
    ],
)
def test_c9_82_strict_and_refused(door: Door, call: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(RuntimeError, match=f"^{message}"):
        door(call, rustorch.ones(2))


def test_c9_82_kinds_are_checked(door: Door) -> None:
    with pytest.raises(TypeError, match=r"^The inputs given to jacobian must be either a Tensor or a tuple of Tensors but the given"):
        door(lambda: functional.jacobian(lambda x: x, 3.0))
    with pytest.raises(TypeError, match=r"^The outputs of the user-provided function given to jacobian must be either a Tensor or a tuple"):
        door(lambda x: functional.jacobian(lambda x: 3, x), rustorch.ones(2))
    with pytest.raises(AssertionError, match=r"^Expected strategy to be either"):
        door(lambda x: functional.jacobian(lambda x: x, x, strategy="sideways"), rustorch.ones(2))
    with pytest.raises(NotImplementedError, match=r"^Computing Jacobian using forward-AD"):
        door(lambda x: functional.jacobian(lambda x: x, x, strategy="forward-mode"), rustorch.ones(2))


# --- 83, 84: transforms -----------------------------------------------------------------------------------------------


def test_c9_83_gradients_of_any_order(door: Door) -> None:
    x = rustorch.tensor(2.0, dtype=rustorch.float64)
    f: Callable[[Any], Any] = lambda x: x**5  # noqa: E731
    for expected in (80.0, 160.0, 240.0, 240.0, 120.0, 0.0):
        f = func.grad(f)
        assert door(f, x).item() == expected
    g, (v, aux) = door(func.grad_and_value(lambda x, y: (x * y, y), argnums=(0, 1), has_aux=True), x, x * 2)
    assert ([t.item() for t in g], v.item(), aux.item()) == ([4.0, 2.0], 8.0, 4.0)


def test_c9_84_pullbacks_and_pushforwards(door: Door) -> None:
    def f(x: Any) -> Any:
        return {"sin": x.sin(), "sum": x.sum()}

    def program(x: Any, t: Any) -> Any:
        value, pull = func.vjp(f, x)
        linear, push = func.linearize(f, x)
        return value, pull({"sin": t, "sum": t.sum()})[0], linear, push(t), func.jvp(f, (x,), (t,))

    x, t = vector(0.0, math.pi), vector(1.0, 10.0)
    value, pulled, linear, pushed, both = door(program, x, t)
    for found in (value, linear, both[0]):
        np.testing.assert_allclose(found["sin"].tolist(), [0.0, 0.0], atol=1e-15)
    assert pulled.tolist() == [12.0, 1.0]
    for found in (pushed, both[1]):
        assert nested(found) == {"sin": [1.0, -10.0], "sum": 11.0}


@pytest.mark.parametrize("chunk_size", [None, 1, 2, 5])
def test_c9_84_jacobians_are_equal(door: Door, chunk_size: int | None) -> None:
    def f(x: Any, w: Any) -> Any:
        return (w @ x).tanh(), x.sum()

    x, w = vector(0.1, 0.2, 0.3), rustorch.tensor(np.random.default_rng(0).standard_normal((2, 3)))
    for argnums in (0, 1, (0, 1)):
        reverse = door(func.jacrev(f, argnums, chunk_size=chunk_size), x, w)
        forward = door(func.jacfwd(f, argnums, chunk_size=chunk_size), x, w)
        inputs = [(x, w)[i] for i in (argnums if isinstance(argnums, tuple) else (argnums,))]
        for r, g, y in zip(reverse, forward, f(x, w), strict=True):
            pairs = zip(r, g, strict=True) if isinstance(r, tuple) else [(r, g)]
            for (a, b), v in zip(pairs, inputs, strict=True):
                assert a.shape == b.shape == (*y.shape, *v.shape)
                np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-13, atol=1e-15)
    slope = 1 - np.tanh(w.numpy() @ x.numpy()) ** 2
    np.testing.assert_allclose(door(func.jacrev(f), x, w)[0].numpy(), slope[:, None] * w.numpy(), rtol=1e-13)


def test_c9_84_hessian(door: Door) -> None:
    x = vector(1.0, 2.0)
    assert nested(door(func.hessian(lambda x: (x**3).sum() + x[0] * x[1]), x)) == [[6.0, 1.0], [1.0, 12.0]]
    values, aux = door(func.jacrev(lambda x: (x * x, x.sum()), has_aux=True), x)
    assert (nested(values), aux.item()) == ([[2.0, 0.0], [0.0, 4.0]], 3.0)
    assert nested(door(func.jacrev(func.jacfwd(func.grad(lambda x: (x**4).sum()))), x))[1][1][1] == 48.0


def test_c9_84_a_jacobian_is_one_pass() -> None:
    w = rustorch.ones(40, 30)
    steps = [
        rustorch.inspect(jacobian(lambda x: (w @ x).tanh()))(rustorch.ones(30)).text("fused").count("product @")
        for jacobian in (func.jacrev, func.jacfwd)
    ]
    assert steps == [2, 2], "the function's product, and one for all rows or columns"


def test_c9_84_python_may_look_at_numbers(door: Door) -> None:
    def f(x: Any) -> Any:
        return x.sin() if float(x.sum()) > 0 else x * 0

    def program(x: Any) -> Any:
        return func.jacrev(f)(x), func.jacfwd(f)(x), func.jvp(f, (x,), (rustorch.ones_like(x),))[1]

    found = door.looking(program, vector(0.1, 0.2))
    if found is not None:
        expected = np.diag(np.cos([0.1, 0.2]))
        for jacobian in found[:2]:
            np.testing.assert_allclose(jacobian.numpy(), expected, rtol=1e-14)
        np.testing.assert_allclose(found[2].numpy(), expected.sum(0), rtol=1e-14)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: func.jvp(lambda x: x, (x,), (rustorch.ones(3),)), RuntimeError, "Trying to set a forward gradient that has a"),
        (lambda x: func.vjp(lambda x: x, x)[1](rustorch.ones(3)), RuntimeError, "Mismatch in shape: grad_output"),
        (lambda x: func.grad(lambda x: x)(x), RuntimeError, ".*Expected .* to return a scalar"),
        (lambda x: func.grad(lambda x: x.sum(), argnums=1)(x), RuntimeError, "Got argnum=1, but only 1 positional inputs"),
        (lambda x: func.jacrev(lambda x: x, chunk_size=0)(x), ValueError, "jacrev: `chunk_size` should be greater than 0."),
    ],
)
def test_c9_84_refusals(door: Door, call: Callable[[Any], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        door(call, rustorch.ones(2))


def test_batched_cotangents(door: Door) -> None:
    def program(x: Any, w: Any) -> Any:
        y = (w @ x.sin()).exp()
        (rows,) = rustorch.grad(y, x, rustorch.eye(2, dtype=rustorch.float64), is_grads_batched=True, create_graph=True)
        return rows, rustorch.grad(rows.sum(), x)[0]

    x, w = rustorch.tensor([0.1, 0.2, 0.3], dtype=rustorch.float64, requires_grad=True), rustorch.tensor(np.arange(6.0).reshape(2, 3))
    rows, second = door(program, x, w)
    inner = np.exp(w.numpy() @ np.sin(x.detach().numpy()))
    np.testing.assert_allclose(rows.detach().numpy(), inner[:, None] * w.numpy() * np.cos(x.detach().numpy()), rtol=1e-13)
    first = w.numpy() * np.cos(x.detach().numpy())
    expected = (inner[:, None, None] * (first[:, :, None] * first[:, None, :])).sum((0, 1))
    expected -= (inner[:, None] * w.numpy() * np.sin(x.detach().numpy())).sum(0)
    np.testing.assert_allclose(second.numpy(), expected, rtol=1e-13)


def test_batched_cotangents_of_closed_programs_and_with_hooks() -> None:
    x = leaf(1.0, 2.0)
    y = x * x
    y.tolist()
    assert rustorch.grad(y, x, rustorch.eye(2), is_grads_batched=True, retain_graph=True)[0].tolist() == [[2.0, 0.0], [0.0, 4.0]]
    x.register_hook(lambda g: g * 10)
    assert rustorch.grad(y, x, rustorch.eye(2), is_grads_batched=True)[0].tolist() == [[20.0, 0.0], [0.0, 40.0]]


# --- 85: vmap ---------------------------------------------------------------------------------------------------------


def test_c9_85_pullbacks_of_what_was_recorded_outside(door: Door) -> None:
    def program(x: Any) -> Any:
        _, pull = func.vjp(lambda x: x.sin() * x.sum(), x)
        (rows,) = func.vmap(pull)(rustorch.eye(2, dtype=rustorch.float64))
        _, push = func.linearize(lambda x: x.sin() * x.sum(), x)
        return rows, func.vmap(push)(rustorch.eye(2, dtype=rustorch.float64)).T

    rows, columns = door(program, vector(0.1, 0.2))
    s, c = np.sin([0.1, 0.2]), np.cos([0.1, 0.2])
    expected = np.diag(c * 0.3) + s[:, None]
    np.testing.assert_allclose(rows.numpy(), expected, rtol=1e-14)
    np.testing.assert_allclose(columns.numpy(), expected, rtol=1e-14)


def test_c9_85_per_sample_gradients(door: Door) -> None:
    layer = nn.Linear(3, 1)
    params = dict(layer.named_parameters())

    def loss(params: Any, x: Any) -> Any:
        return func.functional_call(layer, params, (x,)).sum() ** 2

    batch = rustorch.tensor(np.random.default_rng(0).standard_normal((4, 3)), dtype=rustorch.float32)
    found = door(func.vmap(func.grad(loss), in_dims=(None, 0)), params, batch)
    for k in range(4):
        single = func.grad(loss)(params, batch[k])
        for name, gradient in single.items():
            np.testing.assert_allclose(found[name][k].detach().numpy(), gradient.detach().numpy(), rtol=1e-5)


@pytest.mark.parametrize("chunk_size", [None, 1, 2, 7])
def test_c9_85_dimensions(door: Door, chunk_size: int | None) -> None:
    x, y = rustorch.tensor(np.arange(6.0).reshape(2, 3)), rustorch.tensor(np.arange(3.0))

    def program(x: Any, y: Any) -> Any:
        return (
            func.vmap(lambda a, b: (a * 10, b + 1), in_dims=(1, 0), out_dims=(1, 0), chunk_size=chunk_size)(x, y),
            func.vmap(lambda d, k: d["a"] * d["b"].sum() * k, ({"a": 0, "b": None}, None), chunk_size=chunk_size)({"a": x, "b": y}, 2),
            func.vmap(lambda a: (a, y), out_dims=(0, None), chunk_size=chunk_size)(x),
            func.vmap(func.vmap(lambda a, b: a * b, in_dims=(0, None)), in_dims=(0, None), chunk_size=chunk_size)(x, y[1:]),
        )

    (columns, shifted), scaled, (same, shared), nested = door(program, x, y)
    assert (columns.numpy() == x.numpy() * 10).all()
    assert shifted.tolist() == [1.0, 2.0, 3.0]
    assert (scaled.numpy() == x.numpy() * 6).all()
    assert (same.numpy() == x.numpy()).all()
    assert shared.tolist() == [0.0, 1.0, 2.0]
    assert nested.shape == (2, 3, 2)


@pytest.mark.parametrize("randomness", ["same", "different"])
def test_c9_85_randomness(door: Door, randomness: str) -> None:
    found = door(func.vmap(lambda x: x * 0 + rustorch.rand(()), randomness=randomness), rustorch.ones(8))
    assert len(set(found.tolist())) == (1 if randomness == "same" else 8)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: func.vmap(lambda x: x, in_dims=None)(x), ValueError, ".*expected `in_dims` to be int or a"),
        (lambda x: func.vmap(lambda x: x, in_dims=[0])(x), ValueError, ".*expected `in_dims` to be int or a"),
        (lambda x: func.vmap(lambda x, y: x)(x, x[:1]), ValueError, "vmap: Expected all tensors to have the same size in the mapped"),
        (lambda x: func.vmap(lambda x: x, in_dims=2)(x), ValueError, ".*Got in_dim=2 for some input, but that input is a Tensor of dimens"),
        (lambda x: func.vmap(lambda x, y: x, in_dims=(0,))(x, x), ValueError, ".*in_dims is not compatible with the structure of `inputs`"),
        (lambda x: func.vmap(lambda x: (x, x), out_dims=(0,))(x), ValueError, ".*out_dims is not compatible with the structure of"),
        (lambda x: func.vmap(lambda x: 3)(x), ValueError, ".*must only return Tensors, got type <class 'int'>"),
        (lambda x: func.vmap(lambda x: x, out_dims=None)(x), ValueError, ".*can not return a BatchedTensor when out_dim is None"),
        (lambda x: func.vmap(lambda x, y: x)(x, 3), ValueError, ".*Got in_dim=0 for an input but the input is of type <class 'int'>"),
        (lambda x: func.vmap(lambda: x)(), ValueError, ".*got no inputs"),
        (lambda x: func.vmap(lambda x: x, chunk_size=0)(x), ValueError, "vmap: chunk_size should be None or greater than 0"),
        (lambda x: func.vmap(lambda x: x, randomness="some")(x), RuntimeError, "Only allowed values for randomness are"),
        (lambda x: func.vmap(lambda x: x + rustorch.rand(()))(x), RuntimeError, "vmap: called random operation while in randomness error"),
        (lambda x: func.vmap(lambda x: x if x > 0 else -x)(x), RuntimeError, "the elements of a tensor"),
    ],
)
def test_c9_85_refusals(door: Door, call: Callable[[Any], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        door(call, rustorch.ones(2))


# --- 86: modules as functions -----------------------------------------------------------------------------------------


def test_c9_86_functional_call(door: Door) -> None:
    layer = nn.Linear(2, 2)
    weight = layer.weight

    def program(w: Any, b: Any, x: Any) -> Any:
        return func.functional_call(layer, {"weight": w, "bias": b}, (x,)), func.functional_call(layer, ({"weight": w}, {"bias": b}), x)

    one, two = door(program, rustorch.eye(2) * 3, rustorch.ones(2), rustorch.tensor([1.0, 2.0]))
    assert one.tolist() == two.tolist() == [4.0, 7.0]
    assert layer.weight is weight
    x = rustorch.ones(2)
    with pytest.raises(RuntimeError, match=r"^Error\(s\) in reparametrizing for Linear:\n\tUnexpected key\(s\): 'foo'.\n\tMissing key"):
        func.functional_call(layer, {"foo": x}, x, strict=True)
    with pytest.raises(ValueError, match=r"^\['weight'\] appeared in multiple dictionaries"):
        func.functional_call(layer, ({"weight": x}, {"weight": x}), x)
    with pytest.raises(ValueError, match=r"^Expected parameter_and_buffer_dicts to be a dict"):
        func.functional_call(layer, 3, x)


def test_c9_86_tied_weights() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(2, 2, bias=False)
            self.b = nn.Linear(2, 2, bias=False)
            self.b.weight = self.a.weight

        def forward(self, x: Any) -> Any:
            return self.b(self.a(x))

    new = rustorch.eye(2) * 3
    assert func.functional_call(Tied(), {"a.weight": new}, rustorch.ones(2)).tolist() == [9.0, 9.0]


def test_c9_86_ensembles(door: Door) -> None:
    models = [nn.Linear(2, 2) for _ in range(3)]
    params, buffers = func.stack_module_state(models)
    assert (params["weight"].shape, params["weight"].requires_grad, buffers) == ((3, 2, 2), True, {})
    x = rustorch.tensor([1.0, 2.0])
    found = door(lambda p, x: func.vmap(lambda p, x: func.functional_call(models[0], p, (x,)), in_dims=(0, None))(p, x), params, x)
    np.testing.assert_allclose(found.detach().numpy(), [m(x).detach().numpy() for m in models], rtol=1e-6)
    with pytest.raises(RuntimeError, match=r"^stack_module_state: Expected at least one model, got 0."):
        func.stack_module_state([])
    with pytest.raises(RuntimeError, match=r"^stack_module_state: Expected all models to be of the same class."):
        func.stack_module_state([models[0], nn.ReLU()])


# --- 88: forward mode by hand -----------------------------------------------------------------------------------------


def test_c9_88_dual_tensors(door: Door) -> None:
    def program(x: Any, t: Any) -> Any:
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(x, t)
            y = dual.sin() * 2
            nothing = forward_ad.unpack_dual(x).tangent
            detached = forward_ad.unpack_dual(dual.detach()).tangent
            found = forward_ad.unpack_dual(y)
            again = forward_ad.unpack_dual(dual.clone()).tangent
        return found.primal, found.tangent, again, (nothing, detached, y.requires_grad, forward_ad.unpack_dual(y).tangent)

    primal, tangent, again, others = door(program, vector(0.5), vector(3.0))
    np.testing.assert_allclose([primal.item(), tangent.item()], [2 * np.sin(0.5), 6 * np.cos(0.5)], rtol=1e-14)
    assert (again.item(), others) == (3.0, (None, None, False, None))


def test_c9_88_tangents_pass_numbers_and_jitted_functions() -> None:
    with forward_ad.dual_level():
        x = forward_ad.make_dual(vector(0.5), vector(1.0))
        y = x * x
        assert y.item() == 0.25
        z = rustorch.jit(lambda v: v.exp())(y)
        tangent = forward_ad.unpack_dual(z).tangent
    np.testing.assert_allclose(tangent.item(), np.exp(0.25), rtol=1e-14)


def test_c9_88_refusals(door: Door) -> None:
    x = rustorch.ones(2)
    with pytest.raises(RuntimeError, match=r"^Trying to create a dual Tensor for forward AD but no level exists"):
        door(lambda x: forward_ad.make_dual(x, x), x)
    with pytest.raises(RuntimeError, match=r"^Dual level must be a positive number."):
        forward_ad.exit_dual_level()

    def inside(call: Callable[[], Any]) -> Any:
        with forward_ad.dual_level():
            return call()

    with pytest.raises(RuntimeError, match=r"^Nested forward mode AD is not supported at the moment"):
        inside(forward_ad.enter_dual_level)
    with pytest.raises(RuntimeError, match=r"^Trying to set a forward gradient that has a different size"):
        door(lambda x: inside(lambda: forward_ad.make_dual(x, rustorch.ones(3))), x)
    with pytest.raises(ValueError, match=r"^Expected primal to be floating point or complex, but got"):
        inside(lambda: forward_ad.make_dual(rustorch.tensor([1]), rustorch.tensor([1])))
    assert forward_ad.unpack_dual(x).tangent is None


# --- 87: gradcheck ----------------------------------------------------------------------------------------------------


class Wrong(rustorch.autograd.Function):
    """x^2, with a wrong gradient and a wrong tangent."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_forward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g

    @staticmethod
    def jvp(ctx: Any, t: Any) -> Any:
        return ctx.saved_tensors[0] * t


def doubles() -> Any:
    return rustorch.tensor([1.0, 2.0], dtype=rustorch.float64, requires_grad=True)


def wrapped(door: Door, f: Callable[..., Any]) -> Callable[..., Any]:
    return rustorch.jit(f) if door.compiled else f


def test_c9_87_right_gradients(door: Door) -> None:
    everything = {"check_batched_grad": True, "check_grad_dtypes": True, "check_forward_ad": True, "check_batched_forward_grad": True}
    f = wrapped(door, lambda x, y: (x.sin() * y, (x * y).sum()))
    assert gradcheck(f, (doubles(), doubles()), **everything)
    assert gradcheck(f, (doubles(), doubles()), fast_mode=True, check_forward_ad=True)
    assert gradcheck(f, [doubles(), rustorch.ones(2, dtype=rustorch.float64)])
    assert gradgradcheck(f, (doubles(), doubles()), check_batched_grad=True, check_fwd_over_rev=True)
    assert gradgradcheck(f, (doubles(), doubles()), fast_mode=True)
    assert gradcheck(wrapped(door, lambda x: x.reshape(1, 2)[:, :0] * 2), doubles())


def test_c9_87_wrong_gradients(door: Door) -> None:
    f = wrapped(door, Wrong.apply)
    message = (
        r"^Jacobian mismatch for output 0 with respect to input 0,\nnumerical:tensor\(\[\[2.0000, 0.0000\],\s*\[0.0000, 4.0000\]\].*\)\n"
        r"analytical:tensor\(\[\[1., 0.\],\s*\[0., 1.\]\].*\)"
    )
    with pytest.raises(GradcheckError, match=message):
        gradcheck(f, doubles())
    assert not gradcheck(f, doubles(), raise_exception=False)
    fast = r"^Jacobian mismatch for output 0 with respect to input 0,\nnumerical:[\d.]+\nanalytical:[\d.]+\n\nThe above quantities"
    with pytest.raises(GradcheckError, match=fast):
        gradcheck(f, doubles(), fast_mode=True)
    with pytest.raises(GradcheckError, match=r"^Jacobian computed with forward mode mismatch for output 0 with respect to input 0,"):
        gradcheck(f, doubles(), check_forward_ad=True)
    with pytest.raises(GradcheckError, match=r"^Jacobian mismatch for output 0 with respect to input 0,"):
        gradgradcheck(wrapped(door, lambda x: Wrong.apply(x) * x), doubles())


def test_c9_87_other_failures() -> None:
    class Undefined(rustorch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.set_materialize_grads(False)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx: Any, a: Any, b: Any) -> Any:
            if a is None and b is not None and float(b.abs().sum()) > 0:
                return b * 3  # right, where the other checks look
            found = (0 if a is None else a * 2) + (0 if b is None else b * 3)
            return found + rustorch.ones(2, dtype=rustorch.float64) if a is None else found

    with pytest.raises(GradcheckError, match=r"^Expected all input grads to be undefined or zero when all output grads are undefined"):
        gradcheck(Undefined.apply, doubles())
    calls = [0]

    class Drifting(Wrong):
        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            calls[0] += 1
            return g * (2 + calls[0] * 1e-3)

    with pytest.raises(GradcheckError, match=r"^Backward is not reentrant, i.e., running backward with same input and grad_output"):
        gradcheck(Drifting.apply, doubles(), atol=10.0)
    assert gradcheck(Drifting.apply, doubles(), atol=10.0, nondet_tol=1.0, check_undefined_grad=False)
    with pytest.raises(GradcheckError, match=r"^Numerical gradient for function expected to be zero"):
        gradcheck(lambda x: x.detach(), doubles())


def test_c9_87_batches_of_tangents_without_a_backward_pass() -> None:
    calls = [0]

    class Drifting(Wrong):
        @staticmethod
        def jvp(ctx: Any, t: Any) -> Any:
            calls[0] += 1
            return 2 * ctx.saved_tensors[0] * t * max(1, calls[0] - 2)  # right for the two columns of the Jacobian

    only_forward = {"check_backward_ad": False, "check_forward_ad": True}
    assert gradcheck(Drifting.apply, doubles(), **only_forward)
    calls[0] = 0
    with pytest.raises(GradcheckError, match=r"^For output 0 and input 0, the tangents of a batch differ from single ones$"):
        gradcheck(Drifting.apply, doubles(), check_batched_forward_grad=True, **only_forward)


def test_c9_87_what_is_asked_of_arguments() -> None:
    with pytest.raises(ValueError, match=r"^gradcheck expects at least one input tensor to require gradient, but none of them have"):
        gradcheck(lambda x: x, rustorch.ones(2))
    with pytest.warns(UserWarning, match=r"^Input #0 requires gradient and is not a double precision floating point"):
        assert not gradcheck(lambda x: x * x, leaf(1.0, 2.0), raise_exception=False)
    for options, message in (
        ({"check_backward_ad": False}, "Expected at least one of check_forward_ad or check_backward_ad to be True"),
        ({"check_batched_forward_grad": True}, "Setting check_batched_forward_grad=True requires check_forward_ad to be True"),
    ):
        with pytest.raises(AssertionError, match=f"^{message}"):
            gradcheck(lambda x: x, doubles(), **options)
