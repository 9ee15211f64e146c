"""Export: from a function to C, and the same numbers everywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rustorch
from rustorch import compiler, functional
from rustorch.aot import Exported, Library, export, load
from rustorch.aot.load import host_level
from rustorch.aot.trace import trace_types
from rustorch.autodiff import jvp, vjp
from rustorch.codegen.target import LEVELS
from rustorch.errors import ArgumentError, GradError, ShapeError, TraceError, Unsupported
from rustorch.ir.builder import Builder
from rustorch.ir.graph import Graph
from rustorch.ops.interpret import interpret

Array = np.ndarray[Any, np.dtype[Any]]
f32, f64, i64 = rustorch.f32, rustorch.f64, rustorch.i64

RUNNABLE = [level for level in LEVELS if level <= host_level()]


def rosenbrock(x: Any) -> Any:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def features(x: Any, w: Any) -> Any:
    """A product, an elementwise function and a mean over a symbolic dimension."""
    return (rustorch.tanh(x @ w) ** 2).mean()


def loss(params: Any, x: Any, y: Any) -> Any:
    hidden = functional.relu(functional.linear(x, params["w1"], params["b1"]))
    return functional.cross_entropy(functional.linear(hidden, params["w2"], params["b2"]), y)


PARAMS = {"w1": f32[8, 3], "b1": f32[8], "w2": f32[5, 8], "b2": f32[5]}


def arrays(types: Any, **sizes: int) -> list[Array]:
    """Arrays for types (or dicts of them), in order; the same for the same types."""
    draw = np.random.default_rng(0)
    flat = [t for part in types.values() for t in (part.values() if isinstance(part, dict) else (part,))]
    made = []
    for type_ in flat:
        shape = tuple(size if isinstance(size, int) else size.evaluate(sizes) for size in type_.shape)
        number = draw.integers(0, 5, shape) if type_.dtype is i64 else draw.standard_normal(shape)
        made.append(np.asarray(number).astype(type_.dtype.numpy))
    return made


def compiled(graph: Graph, given: list[Array]) -> list[Array]:
    """The results of a graph through the compiler that jit uses."""
    return compiler.compile_graph(graph).run(given)


def same(got: Any, expected: list[Array]) -> None:
    """Equal to the last bit."""
    results = got if isinstance(got, tuple) else (got,)
    assert len(results) == len(expected)
    for result, wanted in zip(results, expected, strict=True):
        assert np.asarray(result).dtype == wanted.dtype
        np.testing.assert_array_equal(result, wanted)


@pytest.fixture
def loaded(tmp_path: Path) -> Callable[[Exported], Library]:
    return lambda exported: load(exported.save(tmp_path / exported.name))


# --- Numbers ----------------------------------------------------------------------------------------------------------

FUNCTIONS: Mapping[str, tuple[Callable[..., Any], dict[str, Any], dict[str, Any]]] = {
    "rosenbrock": (rosenbrock, {"x": f64[7]}, {"x": f64["n"]}),
    "features": (features, {"x": f64[7, 3], "w": f64[3, 4]}, {"x": f64["n", 3], "w": f64[3, 4]}),
    "loss": (loss, {"params": PARAMS, "x": f32[7, 3], "y": i64[7]}, {"params": PARAMS, "x": f32["n", 3], "y": i64["n"]}),
}


@pytest.mark.parametrize("symbolic", [False, True], ids=["static", "symbolic"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_bits_are_those_of_the_compiler(name: str, symbolic: bool, loaded: Any) -> None:
    function, types, open_types = FUNCTIONS[name]
    kinds = ["value", "grad", "value_and_grad", "jvp", "vjp", "hvp"]
    library = loaded(export(function, open_types if symbolic else types, derivatives=kinds, name=name))
    # f32 sums along a named dimension are taken in float64, those of seven elements are not: there the same types compare.
    graph = trace_types(function, open_types if symbolic and name == "loss" else types).graph
    given = arrays(types)
    wrt = [k for k, v in enumerate(graph.inputs) if v.type.dtype.is_floating_point]
    tangents = [given[k][::-1].copy() for k in wrt]
    one = np.asarray(0.5, given[0].dtype)
    second = jvp.jvp(vjp.grad(graph, wrt), wrt)
    same(library.value(*given), compiled(graph, given))
    same(library.grad(*given), compiled(vjp.grad(graph, wrt), given))
    same(library.value_and_grad(*given), compiled(vjp.value_and_grad(graph, wrt), given))
    same(library.jvp(*given, *tangents), compiled(jvp.jvp(graph, wrt), [*given, *tangents]))
    same(library.vjp(*given, one), compiled(vjp.vjp(graph, wrt), [*given, one]))
    hvp = Graph("hvp", second.inputs, second.nodes, second.outputs[len(wrt) :])
    same(library.hvp(*given, *tangents), compiled(hvp, [*given, *tangents]))


def test_bits_are_those_of_jit(loaded: Any) -> None:
    for name, argnums in (("rosenbrock", 0), ("features", (0, 1)), ("loss", 0)):
        function, types, _ = FUNCTIONS[name]
        wrt = ["params"] if name == "loss" else None
        library = loaded(export(function, types, derivatives=["value_and_grad"], wrt=wrt, name=name))
        given = arrays(types)
        arguments = [dict(zip(PARAMS, given, strict=False)), *given[4:]] if name == "loss" else given
        value, gradient = rustorch.jit(rustorch.value_and_grad(function, argnums=argnums))(*arguments)
        gradients = gradient.values() if isinstance(gradient, dict) else gradient if isinstance(gradient, tuple) else (gradient,)
        same(library.value_and_grad(*given), [one.numpy() for one in (value, *gradients)])


@pytest.mark.parametrize("n", [1, 2, 3, 63, 1000])
def test_one_library_serves_every_size(n: int, loaded: Any) -> None:
    library = loaded(export(features, FUNCTIONS["features"][2], derivatives=["value_and_grad"], name="features"))
    types = {"x": f64[n, 3], "w": f64[3, 4]}
    graph = trace_types(features, types).graph
    same(library.value_and_grad(*arrays(types)), compiled(vjp.value_and_grad(graph, [0, 1]), arrays(types)))


OPEN: Mapping[str, Callable[[Any], Any]] = {
    "softmax over it": lambda x: (functional.softmax(x, dim=0) * x).sum(),
    "softmax beside it": lambda x: (functional.log_softmax(x, dim=1) ** 2).mean(),
    "extremes": lambda x: x.max(dim=0).values.sum() * x.amax(),
    "cat": lambda x: (rustorch.cat([x, x.t().reshape(-1, 3)], dim=0) ** 2).mean(),
    "stack": lambda x: rustorch.stack([x, x * x], dim=1).prod(dim=1).sum(),
    "pairs": lambda x: (((x[:, None, :] - x[None, :, :]) ** 2).sum(-1) + 1).sqrt().sum(),
    "strides": lambda x: (x[::2] ** 3).sum() + (x[1:] * x[:-1]).sum(),
    "ends": lambda x: x[-1].sum() * x[0].prod(),
    "products": lambda x: ((x @ x.t()) ** 2).sum() + ((x.t() @ x) ** 3).mean(),
    "product with a mean": lambda x: rustorch.tanh(x @ x.mean(dim=0)).sum(),
    "choice": lambda x: rustorch.where(x > 0, x.exp(), -x).sum(),
    "flip": lambda x: (x.flip(0) * x.exp()).sum(),
}


@pytest.mark.parametrize("name", OPEN)
def test_named_dimensions_against_the_references(name: str, loaded: Any) -> None:
    library = loaded(export(OPEN[name], {"x": f64["n", 3]}, derivatives=["value_and_grad"], name="f"))
    for n in (1, 2, 3, 16, 33, 130):
        given = arrays({"x": f64[n, 3]})
        expected = interpret(vjp.value_and_grad(trace_types(OPEN[name], {"x": f64[n, 3]}).graph, [0]), given)
        for result, wanted in zip(library.value_and_grad(*given), expected, strict=True):
            # Sums of up to 130 x 130 terms in another order: some hundred roundings of 1e-16 of the largest element.
            np.testing.assert_allclose(result, wanted, rtol=1e-12, atol=1e-12 * np.abs(wanted).max())


def test_rosenbrock_has_its_known_gradient(loaded: Any) -> None:
    library = loaded(export(rosenbrock, {"x": f64["n"]}, derivatives=["value_and_grad", "hvp"], name="rosenbrock"))
    value, gradient = library.value_and_grad(np.array([1.0, 2.0]))
    assert (value, *gradient) == (100.0, -400.0, 200.0)  # df/dx0 = -400 x0 (x1 - x0^2) - 2 (1 - x0), df/dx1 = 200 (x1 - x0^2)
    hessian = np.stack([library.hvp(np.ones(2), row) for row in np.eye(2)])
    np.testing.assert_array_equal(hessian, [[802.0, -400.0], [-400.0, 200.0]])


@pytest.mark.parametrize("level", RUNNABLE)
def test_every_level(level: str, loaded: Any) -> None:
    exported = export(loss, FUNCTIONS["loss"][2], derivatives=["value_and_grad"], wrt=["params"], name="loss", isa=level)
    assert exported.level == level
    assert f"for x86-64-{level} " in exported.header
    given = arrays(FUNCTIONS["loss"][1])
    graph = trace_types(loss, FUNCTIONS["loss"][1]).graph
    results = loaded(exported).value_and_grad(*given)
    for result, expected in zip(results, interpret(vjp.value_and_grad(graph, [0, 1, 2, 3]), given), strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)  # f32: about ten roundings of 6e-8 each


def test_a_graph_is_exported_as_a_function_is(loaded: Any) -> None:
    b = Builder()
    x = b.input(f64["n"], "x")
    graph = b.build([b.reduce_sum(b.mul(x, b.sin(x)), axes=(0,))], "wave")
    exported = export(graph, derivatives=["value_and_grad"])
    assert exported.name == "wave"
    at = np.linspace(0, 1, 9)
    value, gradient = loaded(exported).value_and_grad(x=at)
    np.testing.assert_allclose(value, (at * np.sin(at)).sum(), rtol=1e-14)
    np.testing.assert_allclose(gradient, np.sin(at) + at * np.cos(at), rtol=1e-14, atol=1e-16)


# --- What functions take and give -------------------------------------------------------------------------------------


def test_containers_become_named_arguments() -> None:
    def f(layers: Any, rest: Any) -> Any:
        (w, b), (v,) = layers
        return {"loss": (w * b + v).sum(), "parts": (w * 2, rest["a key"])}

    types = {"layers": [(f64[3], f64[3]), (f64[3],)], "rest": {"a key": f64[2]}}
    exported = export(f, types, derivatives=["value", "grad", "jvp"], wrt=["layers_0_1", "rest"], name="f")
    value, grad, jvp_ = exported.functions
    assert [one.name for one in value.inputs] == ["layers_0_0", "layers_0_1", "layers_1_0", "rest_a_key"]
    assert [one.name for one in value.outputs] == ["value_loss", "value_parts_0", "value_parts_1"]
    assert [one.name for one in grad.outputs] == ["grad_layers_0_1", "grad_rest_a_key"]
    assert [one.name for one in jvp_.inputs[4:]] == ["tangent_layers_0_1", "tangent_rest_a_key"]
    assert [one.name for one in jvp_.outputs[3:]] == ["tangent_value_loss", "tangent_value_parts_0", "tangent_value_parts_1"]


def test_results_that_are_no_floats_have_no_tangents(loaded: Any) -> None:
    library = loaded(export(lambda x: (x * x, x > 0), {"x": f64[3]}, derivatives=["jvp", "vjp"], name="f"))
    _, mask, tangent = library.jvp(np.array([-1.0, 0.0, 2.0]), np.ones(3))
    np.testing.assert_array_equal(tangent, [-2.0, 0.0, 4.0])
    np.testing.assert_array_equal(mask, [False, False, True])
    np.testing.assert_array_equal(library.vjp(np.array([-1.0, 0.0, 2.0]), np.ones(3))[2], [-2.0, 0.0, 4.0])


def test_tensors_from_outside_become_constants(loaded: Any) -> None:
    w = rustorch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=rustorch.float64)
    scale = rustorch.tensor(3.0, dtype=rustorch.float64)
    library = loaded(export(lambda x: ((x @ w) * scale).sum(), {"x": f64["n", 2]}, derivatives=["value_and_grad"], name="f"))
    w.mul_(0.0)  # the library keeps what was there
    value, gradient = library.value_and_grad(np.array([[1.0, 1.0], [2.0, 0.0]]))
    assert value == 3 * (10 + 6)
    np.testing.assert_array_equal(gradient, [[9.0, 21.0], [9.0, 21.0]])


def test_a_module_is_exported_with_its_parameters(loaded: Any) -> None:
    rustorch.manual_seed(0)
    model = rustorch.nn.Sequential(rustorch.nn.Linear(3, 4), rustorch.nn.Tanh(), rustorch.nn.Linear(4, 1))
    library = loaded(export(model, {"x": f32["n", 3]}, derivatives=["value", "vjp"], name="model"))
    (x,) = arrays({"x": f32[5, 3]})
    inputs = rustorch.tensor(x, requires_grad=True)
    expected = model(inputs)
    np.testing.assert_allclose(library.value(x), expected.detach().numpy(), rtol=1e-6)
    expected.sum().backward()
    np.testing.assert_allclose(library.vjp(x, np.ones((5, 1), np.float32))[1], inputs.grad.numpy(), rtol=1e-5)


def test_a_result_that_is_returned_twice(loaded: Any) -> None:
    types = FUNCTIONS["loss"][1]
    library = loaded(export(lambda **given: (loss(**given),) * 2, types, derivatives=["jvp"], name="f"))
    given = arrays(types)
    first, second, one, two = library.jvp(*given, *given[:5])
    assert (first, one) == (second, two)


def test_an_argument_that_is_returned_or_unused_stays_one(loaded: Any) -> None:
    library = loaded(export(lambda x, y: (x, x, x.sum()), {"x": f64[3], "y": f64["n"]}, derivatives=["value"], name="f"))
    first, second, total = library.value(np.arange(3.0), np.zeros(5))
    np.testing.assert_array_equal(first, [0.0, 1.0, 2.0])
    assert not np.shares_memory(first, second)
    assert total == 3.0


def test_sizes_that_the_graph_cannot_take_are_refused(loaded: Any) -> None:
    def f(x: Any) -> Any:
        return x[4:].sum() - x[:2].sum()

    exported = export(f, {"x": f64["n"]}, derivatives=["value", "grad"], name="f")
    library = loaded(exported)
    assert library.value(np.arange(6.0)) == 8.0
    assert library.value(np.arange(4.0)) == -1.0
    with pytest.raises(ArgumentError, match=r"value for n = 3: check 0 failed: n - 4 is negative \(at test_export.py:\d+\)"):
        library.value(np.arange(3.0))
    with pytest.raises(ArgumentError, match="n - 4 is negative"):
        library.grad(np.arange(3.0))
    with pytest.raises(ShapeError, match="refuses these sizes"):
        library.value(np.zeros(0))


def test_an_index_out_of_range_is_a_check_of_its_own(loaded: Any) -> None:
    def f(table: Any, i: Any, x: Any) -> Any:
        return table[i].sum() + x[3:].sum()

    library = loaded(export(f, {"table": f64[5], "i": i64["m"], "x": f64["n"]}, derivatives=["value_and_grad"], name="f"))
    table, x = np.arange(5.0), np.ones(4)
    value, gradient, _ = library.value_and_grad(table, np.array([1, -1, 1]), x)
    assert value == 1 + 4 + 1 + 1
    np.testing.assert_array_equal(gradient, [0.0, 2.0, 0.0, 0.0, 1.0])
    with pytest.raises(ArgumentError, match="check 0 failed: an index is out of range"):
        library.value_and_grad(table, np.array([1, 5]), x)
    with pytest.raises(ArgumentError, match="check 1 failed: n - 3 is negative"):
        library.value_and_grad(table, np.array([1, 0]), np.ones(2))


# --- Files ------------------------------------------------------------------------------------------------------------


def test_one_file_and_a_folder_are_the_same_package(tmp_path: Path) -> None:
    exported = export(rosenbrock, {"x": f64["n"]}, derivatives=["value_and_grad"], name="rosenbrock")
    at = np.linspace(-1, 1, 5)
    folder, file = load(exported.save(tmp_path / "rosenbrock")), load(exported.save(tmp_path / "rosenbrock.rta"))
    same(folder.value_and_grad(at), list(map(np.asarray, file.value_and_grad(at))))
    assert folder.graph == file.graph == exported.graph
    assert sorted(path.name for path in (tmp_path / "rosenbrock").iterdir()) == [
        "librosenbrock.so",
        "manifest.json",
        "rosenbrock.h",
        "rosenbrock.ir",
        "rosenbrock.o",
    ]


PROGRAM = """
import sys
import rustorch
from tests.aot.test_export import FUNCTIONS, export
for name, (function, types, open_types) in FUNCTIONS.items():
    for suffix, given in (("", types), ("_n", open_types)):
        kinds = ["value", "value_and_grad", "hvp"]
        export(function, given, derivatives=kinds, name=name + suffix).save(f"{sys.argv[1]}/{name}{suffix}.rta")
"""


def run(*command: str, cwd: Path, **environment: str) -> str:
    """What a program prints; it must succeed."""
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path, **environment}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_two_exports_give_the_same_bytes(tmp_path: Path) -> None:
    for seed in ("1", "2"):
        (tmp_path / seed).mkdir()
        run(sys.executable, "-c", PROGRAM, seed, cwd=tmp_path, PYTHONHASHSEED=seed)
    found = [{path.name: path.read_bytes() for path in (tmp_path / seed).iterdir()} for seed in ("1", "2")]
    assert len(found[0]) == 2 * len(FUNCTIONS)
    assert [name for name in found[0] if found[0][name] != found[1][name]] == []


LOADING = """
import sys
class Blocked:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("llvmlite", "networkx"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocked())
import numpy as np
from rustorch.aot import load
with np.load("given.npz") as given:
    results = load("loss.rta").value_and_grad(**given)
np.savez("found.npz", *results)
"""


def test_the_compiler_is_not_needed_to_call(tmp_path: Path) -> None:
    function, types, open_types = FUNCTIONS["loss"]
    exported = export(function, open_types, derivatives=["value_and_grad"], wrt=["params"], name="loss")
    exported.save(tmp_path / "loss.rta")
    given = arrays(types)
    names = [one.name for one in exported.functions[0].inputs]
    np.savez(tmp_path / "given.npz", **dict(zip(names, given, strict=True)))
    run(sys.executable, "-c", LOADING, cwd=tmp_path)
    expected = compiled(vjp.value_and_grad(trace_types(function, types).graph, [0, 1, 2, 3]), given)
    with np.load(tmp_path / "found.npz") as found:
        same(tuple(found[f"arr_{k}"] for k in range(len(expected))), expected)


# --- C ----------------------------------------------------------------------------------------------------------------

MAIN = r"""
#include <stdio.h>
#include <stdlib.h>
#include "features.h"
#include "rosenbrock.h"

static _Alignas(64) unsigned char work[1 << 20];

int main(void) {
  double x[7], gradient[7], value, y[21], w[12], grad_y[21], grad_w[12];
  for (int i = 0; i < 7; i++) x[i] = 0.25 * i - 1.0;
  if (rosenbrock_value_and_grad_work_bytes(7) > sizeof work) return 10;
  if (rosenbrock_value_and_grad(7, x, &value, gradient, work) != RT_OK) return 11;
  printf("%.17g\n", value);
  for (int i = 0; i < 7; i++) printf("%.17g\n", gradient[i]);
  for (int i = 0; i < 21; i++) y[i] = 0.1 * i - 1.0;
  for (int i = 0; i < 12; i++) w[i] = 0.5 - 0.1 * i;
  void *heap = aligned_alloc(64, (features_value_and_grad_work_bytes(7) + 63) / 64 * 64);
  if (features_value_and_grad(7, y, w, &value, grad_y, grad_w, heap) != RT_OK) return 12;
  printf("%.17g\n", value);
  for (int i = 0; i < 21; i++) printf("%.17g\n", grad_y[i]);
  for (int i = 0; i < 12; i++) printf("%.17g\n", grad_w[i]);
  if (rosenbrock_value_and_grad(0, x, &value, gradient, work) != RT_E_SHAPE) return 13;
  if (rosenbrock_value_and_grad(7, x, &value, gradient, NULL) != RT_E_WORKSPACE) return 14;
  if (rosenbrock_value_and_grad(7, x, &value, gradient, work + 1) != RT_E_WORKSPACE) return 15;
  free(heap);
  return 0;
}
"""


@pytest.fixture
def c_folder(tmp_path: Path) -> Path:
    """The two packages of `MAIN`, and it."""
    for name in ("features", "rosenbrock"):
        export(FUNCTIONS[name][0], FUNCTIONS[name][2], derivatives=["value", "value_and_grad"], name=name).save(tmp_path)
    (tmp_path / "main.c").write_text(MAIN)
    return tmp_path


@pytest.mark.parametrize(
    "objects", [("rosenbrock.o", "features.o"), ("-L.", "-lrosenbrock", "-lfeatures", "-Wl,-rpath,.")], ids=["o", "so"]
)
def test_a_c_program(objects: tuple[str, ...], c_folder: Path, shell: Callable[..., str]) -> None:
    strict = ("-Wall", "-Wextra", "-Werror", "-pedantic", "-D_ISOC11_SOURCE")
    shell("cc", "-std=c11", *strict, "main.c", *objects, "-o", "main")
    printed = np.array(shell("./main").split(), np.float64)
    x, y, w = 0.25 * np.arange(7) - 1.0, (0.1 * np.arange(21) - 1.0).reshape(7, 3), (0.5 - 0.1 * np.arange(12)).reshape(3, 4)
    first = compiled(vjp.value_and_grad(trace_types(rosenbrock, {"x": f64[7]}).graph, [0]), [x])
    second = compiled(vjp.value_and_grad(trace_types(features, FUNCTIONS["features"][1]).graph, [0, 1]), [y, w])
    np.testing.assert_array_equal(printed, np.concatenate([part.reshape(-1) for part in (*first, *second)]))


@pytest.mark.parametrize("standard", ["c99", "c17"])
def test_the_header_is_plain_c(standard: str, c_folder: Path, shell: Callable[..., str]) -> None:
    (c_folder / "use.c").write_text('#include "features.h"\n#include "rosenbrock.h"\nint main(void) { return RT_OK; }\n')
    shell("cc", f"-std={standard}", "-Wall", "-Wextra", "-Werror", "-pedantic", "-c", "use.c")


def test_nothing_is_undefined_and_nothing_else_is_exported(c_folder: Path, shell: Callable[..., str]) -> None:
    for file in ("rosenbrock.o", "librosenbrock.so", "features.o", "libfeatures.so"):
        assert shell("nm", "-u", *(("-D",) if file.endswith(".so") else ()), file) == ""
    found = [line.split()[-1] for line in shell("nm", "-D", "--defined-only", "libfeatures.so").splitlines()]
    assert sorted(found) == sorted(f"features_{kind}{end}" for kind in ("value", "value_and_grad") for end in ("", "_work_bytes"))
    assert sorted(found) == sorted(line.split()[-1] for line in shell("nm", "-g", "features.o").splitlines())


# --- Refusals ---------------------------------------------------------------------------------------------------------


def draws(x: Any) -> Any:
    return (x * rustorch.rand(3)).sum()


STATE = rustorch.zeros(3, dtype=rustorch.float64)


def writes(x: Any) -> Any:
    STATE.add_(x)
    return x.sum()


n, m = rustorch.f64["n", "m"].shape

REFUSALS: Mapping[str, tuple[Any, Any, dict[str, Any], type[Exception], str]] = {
    "unknown kind": (rosenbrock, {"x": f64[3]}, {"derivatives": ["hessians"]}, Unsupported, "found 'hessians'\n  Choose from value, grad"),
    "no kind": (rosenbrock, {"x": f64[3]}, {"derivatives": []}, Unsupported, "found none"),
    "unknown wrt": (rosenbrock, {"x": f64[3]}, {"wrt": ["y"]}, ArgumentError, "wrt names no argument 'y'\n  The arguments are x"),
    "integer wrt": (
        lambda x, i: x.sum(), {"x": f64[3], "i": i64[2]}, {"wrt": ["i"], "derivatives": ["grad"]}, GradError, "only floating-point inputs"
    ),
    "nothing to differentiate": (lambda i: i.sum(), {"i": i64[2]}, {"derivatives": ["grad"]}, ArgumentError, "floating-point arguments"),
    "no scalar": (lambda x: x * 2, {"x": f64[3]}, {"derivatives": ["value_and_grad"]}, GradError, "only for scalar outputs"),
    "product of dimensions": (lambda x: x.sum(), {"x": f64[n * m]}, {}, ArgumentError, "do not determine m, n"),
    "name with a dash": (rosenbrock, {"x": f64[3]}, {"name": "a-b"}, ArgumentError, "C identifier\n  found 'a-b'"),
    "name with an accent": (rosenbrock, {"x": f64[3]}, {"name": "é"}, ArgumentError, "C identifier"),
    "level": (rosenbrock, {"x": f64[3]}, {"isa": "v5"}, Unsupported, "instruction set level 'v5'"),
    "missing type": (features, {"x": f64[3, 3]}, {}, ArgumentError, "no type for w"),
    "unknown parameter": (rosenbrock, {"x": f64[3], "z": f64[3]}, {}, ArgumentError, "types for z, which it does not have"),
    "no type": (rosenbrock, {"x": 3.0}, {}, ArgumentError, "found 3.0 of class float"),
    "one name twice": (lambda a, a_0: a[0], {"a": (f64[2],), "a_0": f64[2]}, {}, ArgumentError, "found 'a_0' twice"),
    "random numbers": (draws, {"x": f64[3]}, {}, Unsupported, "draws draws random numbers"),
    "writing": (writes, {"x": f64[3]}, {}, TraceError, "writes to a tensor"),
    "a number as result": (lambda x: 3, {"x": f64[3]}, {}, TraceError, "results of <lambda> are tensors\n  found 3"),
    "no result": (lambda x: None, {"x": f64[3]}, {}, TraceError, "has no result"),
    "looking at numbers": (lambda x: float(x.sum()), {"x": f64[3]}, {}, TraceError, "is traced"),
    "shapes": (lambda x, y: x + y, {"x": f64["n"], "y": f64["m"]}, {}, ShapeError, "must match"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals(case: str) -> None:
    function, types, options, error, words = REFUSALS[case]
    with pytest.raises(error) as raised:
        export(function, types, **options)
    assert words in str(raised.value)
    np.testing.assert_array_equal(STATE.numpy(), np.zeros(3))
