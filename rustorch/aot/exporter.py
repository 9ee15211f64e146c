"""Ahead of time: a function and its derivatives as a C library that needs nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rustorch.aot.conditions import checked_driver, shape_conditions
from rustorch.aot.header import c_header, exported_symbols, wrapper_text
from rustorch.aot.package import ExportedFunction, save
from rustorch.aot.sizes import symbols
from rustorch.aot.trace import Named, named_graph, trace_types
from rustorch.artifact import ArgSpec
from rustorch.autodiff import jvp, vjp
from rustorch.compiler.pipeline import generate_code, lowered, one_object
from rustorch.compiler.stored import native_target
from rustorch.errors import ArgumentError, Unsupported, compose
from rustorch.ir.graph import Graph, Value
from rustorch.ir.op import Callout
from rustorch.ir.printer import to_text
from rustorch.ir.types import TensorType
from rustorch.runtime.elf import relocatable, shared_library


@dataclass(frozen=True)
class Exported:
    """An exported package in memory: object, shared library, header and the functions in them."""

    name: str
    functions: tuple[ExportedFunction, ...]
    object: bytes
    library: bytes
    header: str
    graph: str
    """Text of the function's graph."""
    level: str
    """The instruction set level that it was compiled for: `v2`, `v3` or `v4`."""

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write `lib<name>.so`, `<name>.o`, `<name>.h`, `<name>.ir` and `manifest.json` into a folder (or one `.rta` file)."""
        return save(
            path,
            self.name,
            library=self.library,
            object=self.object,
            header=self.header,
            graph=self.graph,
            functions=self.functions,
            level=self.level,
        )

    def __repr__(self) -> str:
        return f"<exported {self.name}: {', '.join(one.name for one in self.functions)} for x86-64-{self.level}>"


def export(
    function: Callable[..., Any] | Graph,
    types: Mapping[str, Any] | None = None,
    derivatives: Sequence[str] = ("value",),
    *,
    wrt: Sequence[str] | None = None,
    name: str | None = None,
    isa: str = "host",
) -> Exported:
    """Compile a function and its derivatives for C.

    `types` gives the type of each argument by its name: `{"x": rustorch.f64["n", 3]}`; a quoted size is a dimension that
    the C caller chooses (at least 1). Containers of types are taken, too: their leaves become arguments named by their path.
    Tensors that the function takes from outside become constants of the library. A graph brings its own types.

    `derivatives` are out of `value`, `grad`, `value_and_grad`, `jvp`, `vjp`, `hvp`, for the arguments named by `wrt` (all
    floating-point ones unless given). `grad`, `value_and_grad` and `hvp` ask for a first result that is one number. `isa` is the
    instruction set level: `host`, `v2` (runs on every x86-64 processor since 2009), `v3` or `v4`.

        exported = rustorch.aot.export(f, {"x": rustorch.f64["n", 3]}, derivatives=["value", "value_and_grad"], name="f")
        exported.save("out")            # out/f.h, out/libf.so, out/f.o, out/f.ir, out/manifest.json
    """
    kinds = _kinds(derivatives)
    named = named_graph(function) if isinstance(function, Graph) else trace_types(function, types or {})
    name = name or (named.graph.name if _is_c_name(named.graph.name) else "f")
    if not _is_c_name(name):
        raise ArgumentError(compose("export: the name is part of C names, so it is a C identifier", f"found {name!r}"))
    _check_dims(named)
    wanted = _places(named, wrt)
    if not wanted and kinds != ["value"]:
        raise ArgumentError(compose("export: derivatives are taken for floating-point arguments", f"{name} has none"))
    return _Export(named, name, wanted, isa).run(kinds)


# --- What is asked for ------------------------------------------------------------------------------------------------


def _kinds(derivatives: Sequence[str]) -> list[str]:
    """The derivatives by name, each once."""
    asked = [derivatives] if isinstance(derivatives, str) else list(dict.fromkeys(derivatives))
    unknown = [kind for kind in asked if kind not in DERIVATIVES]
    if unknown or not asked:
        found = f"found {unknown[0]!r}" if unknown else "found none"
        todo = f"Choose from {', '.join(DERIVATIVES)}."
        raise Unsupported(compose("export: `derivatives` is a list of kinds", found, todo=todo))
    return asked


def _is_c_name(name: str) -> bool:
    return name.isascii() and name.isidentifier()


def _check_dims(named: Named) -> None:
    """Refuse dimensions that the shapes of the arguments do not determine, one size after the other."""
    sizes = [str(size) for value in named.graph.inputs for size in _tensor(value).shape]
    names = dict.fromkeys(name for value in named.graph.inputs for name in _tensor(value).symbols())
    known: set[str] = set()
    while found := {name for size in sizes for name in [symbols(size) - known] if len(name) == 1}:
        known |= frozenset.union(*found)
    if missing := [name for name in names if name not in known]:
        types = ", ".join(f"{name}: {v.type}" for name, v in zip(named.inputs, named.graph.inputs, strict=True))
        raise ArgumentError(
            compose(
                f"export: the shapes of the arguments do not determine {', '.join(missing)}",
                f"the arguments are {types}",
                todo="Give each dimension an axis of its own length somewhere, or an argument that has one.",
            )
        )


def _places(named: Named, wrt: Sequence[str] | None) -> list[int]:
    """The inputs to differentiate for: all floating-point ones, or those that `wrt` names, by argument or by leaf."""
    inputs = named.graph.inputs
    if wrt is None:
        return [k for k, v in enumerate(inputs) if _tensor(v).dtype.is_floating_point]
    leaves = {**{name: [k] for k, name in enumerate(named.inputs)}, **named.arguments}
    asked = [wrt] if isinstance(wrt, str) else list(wrt)
    for one in asked:
        if one not in leaves:
            raise ArgumentError(compose(f"export: wrt names no argument {one!r}", todo=f"The arguments are {', '.join(leaves)}."))
    return list(dict.fromkeys(k for one in asked for k in leaves[one]))


def _tensor(value: Value) -> TensorType:
    assert isinstance(value.type, TensorType)
    return value.type


# --- The kinds of functions -------------------------------------------------------------------------------------------

Names = Sequence[str]


@dataclass(frozen=True)
class Derivative:
    """One kind of exported function: its graph, and names for what it adds to the function's own inputs and outputs.

    `inputs` and `outputs` are given the names of the differentiable outputs and of the inputs differentiated for.
    """

    graph: Callable[[Graph, Sequence[int]], Graph]
    inputs: Callable[[Names, Names], list[str]]
    outputs: Callable[[Names, Names], list[str]]
    with_value: bool
    """Whether the function's own outputs come first."""
    doc: str


def _hvp(graph: Graph, wrt: Sequence[int]) -> Graph:
    """Hessian-vector products: the tangents of the gradients."""
    pushed = jvp.jvp(vjp.grad(graph, wrt), wrt)
    return Graph(f"{graph.name}.hvp", pushed.inputs, pushed.nodes, pushed.outputs[len(wrt) :])


def _each(prefix: str, names: Names) -> list[str]:
    return [f"{prefix}_{name}" for name in names]


DERIVATIVES: Mapping[str, Derivative] = {
    "value": Derivative(lambda graph, wrt: graph, lambda y, x: [], lambda y, x: [], True, "The value."),
    "grad": Derivative(vjp.grad, lambda y, x: [], lambda y, x: _each("grad", x), False, "The gradient."),
    "value_and_grad": Derivative(vjp.value_and_grad, lambda y, x: [], lambda y, x: _each("grad", x), True, "The value and its gradient."),
    "jvp": Derivative(
        jvp.jvp, lambda y, x: _each("tangent", x), lambda y, x: _each("tangent", y), True, "The value, and its derivative along tangents."
    ),
    "vjp": Derivative(
        vjp.vjp, lambda y, x: _each("cotangent", y), lambda y, x: _each("cotangent", x), True, "The value, and cotangents pulled back."
    ),
    "hvp": Derivative(
        _hvp, lambda y, x: _each("tangent", x), lambda y, x: _each("hvp", x), False, "The derivative of the gradient along tangents."
    ),
}


class _Export:
    """One export: every function's code goes into one object, which is linked once."""

    def __init__(self, named: Named, name: str, wrt: Sequence[int], isa: str) -> None:
        self.named, self.name, self.wrt, self.target = named, name, wrt, native_target(isa)

    def run(self, kinds: Sequence[str]) -> Exported:
        """Generate every function, put them into one object, link it."""
        functions: list[ExportedFunction] = []
        parts = []
        wrappers: list[str] = []
        for kind in kinds:
            driver = f"{self.name}.{kind}"
            graph = DERIVATIVES[kind].graph(self.named.graph, self.wrt)
            simplified = lowered(graph)[-1][1]
            _check_callouts(simplified)
            part = generate_code(simplified, driver, self.target)
            conditions = shape_conditions(graph, part.dims)
            inputs, outputs = self._arguments(kind, part.inputs, part.outputs)
            function = ExportedFunction(
                name=kind,
                symbol=f"{self.name}_{kind}",
                kind=kind,
                dims=part.dims,
                inputs=inputs,
                outputs=outputs,
                work_bytes=part.work_bytes,
                doc=DERIVATIVES[kind].doc,
                checks=(*part.checks, *(condition.message for condition in conditions)),
                least=1 if part.dims else 0,
            )
            functions.append(function)
            parts.append(part)
            if conditions:
                wrappers.append(checked_driver(f"{driver}.checked", driver, part.dims, conditions, len(part.checks)))
                driver = f"{driver}.checked"
            wrappers.append(wrapper_text(function, driver))
        compiled = one_object(parts, wrappers, self.target)
        exports = exported_symbols(functions)
        return Exported(
            self.name,
            tuple(functions),
            relocatable([compiled], exports),
            shared_library([compiled], exports, f"lib{self.name}.so"),
            c_header(self.name, functions, self.target.level),
            to_text(self.named.graph, locations=True),
            self.target.level,
        )

    def _arguments(
        self, kind: str, inputs: Sequence[ArgSpec], outputs: Sequence[ArgSpec]
    ) -> tuple[tuple[ArgSpec, ...], tuple[ArgSpec, ...]]:
        """The inputs and outputs of a function under their names."""
        derivative = DERIVATIVES[kind]
        own = self.named.outputs
        smooth = [name for name, v in zip(own, self.named.graph.outputs, strict=True) if _tensor(v).dtype.is_floating_point]
        wrt = [self.named.inputs[k] for k in self.wrt]
        given = [*self.named.inputs, *derivative.inputs(smooth, wrt)]
        found = [*(own if derivative.with_value else ()), *derivative.outputs(smooth, wrt)]
        return _renamed(inputs, given), _renamed(outputs, found)


def _check_callouts(graph: Graph) -> None:
    """Refuse what is computed by LAPACK, which a library that needs nothing does not have."""
    for node in graph.nodes:
        if isinstance(node.op.lower, Callout):
            raise Unsupported(
                compose(
                    f"export: {node.op.name} is computed by LAPACK, outside of native code, and cannot be exported ahead of time",
                    f"found {node.op.name} of {', '.join(str(v.type) for v in node.operands)}",
                    at=str(node.location) if node.location.line else "",
                    todo="Compute it before, and pass the result as an argument; rustorch.jit takes the function as it is.",
                )
            )


def _renamed(specs: Sequence[ArgSpec], names: Names) -> tuple[ArgSpec, ...]:
    return tuple(replace(spec, name=name) for spec, name in zip(specs, names, strict=True))
