"""Ahead of time: a function and its derivatives as a C library that needs nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rustorch.aot.elf import relocatable, shared_library
from rustorch.aot.header import c_header, exported_symbols, wrapper_text
from rustorch.aot.package import ExportedFunction, save
from rustorch.artifact import ArgSpec
from rustorch.autodiff import jvp, vjp
from rustorch.compiler import generate_code, lowered, native_target, one_object
from rustorch.errors import ArgumentError, Unsupported, compose
from rustorch.frontend.trace import trace_types
from rustorch.ir.graph import Graph
from rustorch.ir.printer import to_text
from rustorch.ir.types import TensorType


@dataclass(frozen=True)
class Exported:
    """An exported package in memory: object, shared library, header and the functions in them."""

    name: str
    functions: tuple[ExportedFunction, ...]
    object: bytes
    library: bytes
    header: str
    graph: str
    level: str

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


@dataclass(frozen=True)
class Derivative:
    """One kind of exported function: its graph, and the names of its outputs and of the inputs that it adds."""

    graph: Callable[[Graph, Sequence[int]], Graph]
    results: Callable[[Sequence[str], Sequence[str]], list[str]]
    """Output names from the names of the primal outputs and of the inputs differentiated for."""
    added: str = ""
    """Prefix of the inputs that come after the function's own: tangents or cotangents."""


def _hvp(graph: Graph, wrt: Sequence[int]) -> Graph:
    """Hessian-vector products: the tangents of the gradients."""
    gradients = vjp.grad(graph, wrt)
    pushed = jvp.jvp(gradients, wrt)
    return Graph(f"{graph.name}.hvp", pushed.inputs, pushed.nodes, pushed.outputs[len(wrt) :])


DERIVATIVES: Mapping[str, Derivative] = {
    "value": Derivative(lambda graph, wrt: graph, lambda outputs, wrt: list(outputs)),
    "grad": Derivative(vjp.grad, lambda outputs, wrt: [f"grad_{x}" for x in wrt]),
    "value_and_grad": Derivative(vjp.value_and_grad, lambda outputs, wrt: [*outputs, *(f"grad_{x}" for x in wrt)]),
    "jvp": Derivative(jvp.jvp, lambda outputs, wrt: [*outputs, *(f"tangent_{y}" for y in outputs)], "tangent"),
    "vjp": Derivative(vjp.vjp, lambda outputs, wrt: [*outputs, *(f"cotangent_{x}" for x in wrt)], "cotangent"),
    "hvp": Derivative(_hvp, lambda outputs, wrt: [f"hvp_{x}" for x in wrt], "tangent"),
}


def export(
    function: Callable[..., Any] | Graph,
    types: Mapping[str, TensorType] | None = None,
    derivatives: Sequence[str] = ("value",),
    *,
    wrt: Sequence[str] | None = None,
    name: str | None = None,
    isa: str = "host",
) -> Exported:
    """Compile a function and its derivatives for C.

    `types` gives the type of each argument by its name: `{"x": rustorch.f64["n", 3]}`; a quoted size is a dimension that
    the C caller chooses. `derivatives` are out of `value`, `grad`, `value_and_grad`, `jvp`, `vjp`, `hvp`, for the arguments
    named by `wrt` (all floating-point ones unless given). `isa` is the instruction set level: `host`, `v2` (runs everywhere),
    `v3` or `v4`.

        exported = rustorch.aot.export(f, {"x": rustorch.f64["n", 3]}, derivatives=["value", "value_and_grad"], name="f")
        exported.save("out")            # out/f.h, out/libf.so, out/f.o
    """
    graph = function if isinstance(function, Graph) else trace_types(function, types or {})
    name = name or (graph.name if graph.name.isidentifier() else "f")
    if not name.isidentifier():
        raise ArgumentError(f"export: the name must be a C identifier, not {name!r}")
    unknown = [kind for kind in derivatives if kind not in DERIVATIVES]
    if unknown or not derivatives:
        found = f"found {unknown[0]!r}" if unknown else "found none"
        raise Unsupported(compose("export: derivatives are named by a list of kinds", found, todo=f"Choose from {', '.join(DERIVATIVES)}."))
    return _Export(graph, name, _places(graph, wrt), isa).run(list(dict.fromkeys(derivatives)))


def _places(graph: Graph, wrt: Sequence[str] | None) -> list[int]:
    names = [v.hint for v in graph.inputs]
    if wrt is None:
        return [k for k, v in enumerate(graph.inputs) if isinstance(v.type, TensorType) and v.type.dtype.is_floating_point]
    for asked in wrt:
        if asked not in names:
            raise ArgumentError(compose(f"export: wrt names no argument {asked!r}", todo=f"The arguments are {', '.join(names)}."))
    return [names.index(asked) for asked in wrt]


class _Export:
    def __init__(self, graph: Graph, name: str, wrt: Sequence[int], isa: str) -> None:
        self.graph, self.name, self.wrt, self.target = graph, name, wrt, native_target(isa)

    def run(self, kinds: Sequence[str]) -> Exported:
        """Generate every function, put them into one object, link it."""
        functions: list[ExportedFunction] = []
        parts = []
        wrappers: list[str] = []
        for kind in kinds:
            driver = f"{self.name}.{kind}"
            part = generate_code(lowered(DERIVATIVES[kind].graph(self.graph, self.wrt))[-1][1], driver, self.target)
            function = ExportedFunction(
                name=kind,
                symbol=f"{self.name}_{kind}",
                kind=kind,
                dims=part.dims,
                inputs=self._inputs(kind, part.inputs),
                outputs=self._outputs(kind, part.outputs),
                work_bytes=part.work_bytes,
                doc=f"{kind} of {self.name}.",
                checks=part.checks,
                least=1 if part.dims else 0,
            )
            functions.append(function)
            parts.append(part)
            wrappers.append(wrapper_text(function, driver))
        compiled = one_object(parts, wrappers, self.target)
        exports = exported_symbols(functions)
        return Exported(
            self.name,
            tuple(functions),
            relocatable([compiled], exports),
            shared_library([compiled], exports, f"lib{self.name}.so"),
            c_header(self.name, functions, self.target.level),
            to_text(self.graph, locations=True),
            self.target.level,
        )

    def _inputs(self, kind: str, specs: Sequence[ArgSpec]) -> tuple[ArgSpec, ...]:
        added = specs[len(self.graph.inputs) :]
        prefix = DERIVATIVES[kind].added
        named = [replace(s, name=f"{prefix}_{k}" if len(added) > 1 else prefix) for k, s in enumerate(added)]
        return (*specs[: len(self.graph.inputs)], *named)

    def _outputs(self, kind: str, specs: Sequence[ArgSpec]) -> tuple[ArgSpec, ...]:
        primal = ["value"] if len(self.graph.outputs) == 1 else [f"value_{k}" for k in range(len(self.graph.outputs))]
        wrt = [self.graph.inputs[k].hint or f"x{k}" for k in self.wrt]
        names = DERIVATIVES[kind].results(primal, wrt)
        return tuple(replace(s, name=n) for s, n in zip(specs, names, strict=True))
