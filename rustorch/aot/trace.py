"""A Python function over tensors as a graph whose inputs have names: what `export` compiles.

Where an argument is a container of types, each leaf is an input, named by its path: `params["w1"]` is `params_w1`, and
`layers[0]` is `layers_0`. Tensors that the function takes from outside become constants with the elements that they have now.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rustorch.errors import ArgumentError, TraceError, Unsupported, compose
from rustorch.frontend import tree
from rustorch.frontend.trace import Output, Outside, Trace, Traced, run_traced
from rustorch.ir.builder import Builder
from rustorch.ir.graph import Graph
from rustorch.ir.rewrite import replay_into
from rustorch.ir.types import TensorType


@dataclass(frozen=True)
class Named:
    """A graph, and names for its inputs and outputs as C and Python show them."""

    graph: Graph
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    arguments: Mapping[str, Sequence[int]]
    """The inputs that each argument of the function stands for."""


def named_graph(graph: Graph) -> Named:
    """A graph that was built by hand: its inputs have the names that they have in its text."""
    names = [v.hint if v.hint.isidentifier() else f"x{k}" for k, v in enumerate(graph.inputs)]
    return Named(graph, tuple(names), tuple(_result_names([()] * len(graph.outputs))), {name: [k] for k, name in enumerate(names)})


def trace_types(function: Callable[..., Any], types: Mapping[str, Any]) -> Named:
    """The graph of `function` for arguments of these types (or containers of types), by the names of its parameters.

    Raises `ArgumentError` where names and parameters do not fit, `TraceError` where the function does more than compute its
    result, and `Unsupported` where it draws random numbers.
    """
    name = str(getattr(function, "__name__", type(function).__name__))
    flat = {argument: _leaves(argument, part) for argument, part in types.items()}
    names = [leaf for leaves, _ in flat.values() for leaf, _ in leaves]
    if len(set(names)) < len(names):
        twice = next(one for one in names if names.count(one) > 1)
        raise ArgumentError(compose("export: two arguments have one name", f"found {twice!r} twice among {', '.join(names)}"))
    positional = _by_position(function, name, list(types))

    def begin(trace: Trace) -> list[Any]:
        leaves = [leaf for part, _ in flat.values() for leaf in part]
        return [trace.add_argument(type_, type_.dtype.is_floating_point, hint) for hint, type_ in leaves]

    def call(tensors: list[Any]) -> tuple[list[Any], Any]:
        rest = iter(tensors)
        given = {argument: tree.unflatten(structure, [next(rest) for _ in leaves]) for argument, (leaves, structure) in flat.items()}
        return tree.flatten(function(*given.values()) if positional else function(**given))

    traced = run_traced(name, True, begin, call)
    graph = _closed(_checked(traced), name)
    counts = iter(range(len(names)))
    arguments = {argument: [next(counts) for _ in leaves] for argument, (leaves, _) in flat.items()}
    return Named(graph, tuple(names), tuple(_result_names(_paths(traced.structure))), arguments)


def _leaves(argument: str, part: Any) -> tuple[list[tuple[str, TensorType]], tree.Structure]:
    """Names and types of the leaves of one argument, and its structure."""
    found, structure = tree.flatten(part)
    for type_ in found:
        if not isinstance(type_, TensorType):
            raise ArgumentError(
                compose(
                    f"export: the type of argument {argument!r} is a type such as rustorch.f64['n', 3], or a container of types",
                    f"found {type_!r} of class {type(type_).__name__}",
                )
            )
    names = ["_".join([argument, *path]) for path in _paths(structure)]
    return list(zip(names, found, strict=True)), structure


def _paths(structure: tree.Structure) -> list[tuple[str, ...]]:
    """The way to each leaf: keys of dicts and fields by their name, elements of sequences by their number."""
    if structure.kind == "leaf":
        return [()]
    more: Any = structure.more
    keys = more if isinstance(more, tuple) and len(more) == len(structure.children) else range(len(structure.children))
    if isinstance(structure.kind, type) and hasattr(structure.kind, "_fields"):
        keys = structure.kind._fields
    return [(re.sub(r"\W", "_", str(key)), *path) for key, child in zip(keys, structure.children, strict=True) for path in _paths(child)]


def _result_names(paths: Sequence[tuple[str, ...]]) -> list[str]:
    """`value` for a single result, `value_0`, `value_loss` … for several."""
    if len(paths) > 1 and not any(paths):
        paths = [(str(k),) for k in range(len(paths))]
    return ["_".join(["value", *path]) for path in paths]


def _by_position(function: Callable[..., Any], name: str, given: list[str]) -> bool:
    """Whether the arguments go by position, in the order of the types; refused where the function has no such parameters."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # a builtin: it says what it takes when it is called
        return True
    kinds = {p.kind for p in parameters.values()}
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return True
    missing = [p.name for p in parameters.values() if p.default is p.empty and p.kind not in _ANY and p.name not in given]
    unknown = [] if inspect.Parameter.VAR_KEYWORD in kinds else [one for one in given if one not in parameters]
    if missing or unknown:
        found = f"no type for {', '.join(missing)}" if missing else f"types for {', '.join(unknown)}, which it does not have"
        raise ArgumentError(
            compose(
                f"export: `types` gives the type of each parameter of {name} by its name",
                f"found {found}",
                f"the parameters are {', '.join(parameters)}",
            )
        )
    return inspect.Parameter.POSITIONAL_ONLY in kinds and list(parameters)[: len(given)] == given


_ANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _checked(traced: Traced) -> Traced:
    """What was traced, refused where the function does more than compute tensors from tensors."""
    if traced.written or traced.grads:
        what = "writes to a tensor that it was given or takes from outside" if traced.written else "sets the .grad of a tensor"
        raise TraceError(
            compose(
                f"export: {traced.name} {what}",
                "an exported function is pure: its results are all that it does",
                todo="Return the new value as a result instead; gradients come from `derivatives=`.",
            )
        )
    if any(not isinstance(one, Outside) for one in traced.outside):
        raise Unsupported(
            compose(
                f"export: {traced.name} draws random numbers",
                "an exported function is pure: it keeps no generator",
                todo="Draw them outside, and pass them as an argument.",
            )
        )
    for leaf in traced.leaves:
        if not isinstance(leaf, Output):
            raise TraceError(compose(f"export: the results of {traced.name} are tensors", f"found {leaf!r}", todo="Make it a tensor."))
    if not traced.leaves:
        raise TraceError(compose(f"export: {traced.name} has no result", "it returned None, or an empty container"))
    return traced


def _closed(traced: Traced, name: str) -> Graph:
    """The graph over the arguments alone, tensors from outside as constants."""
    b = Builder()
    old = traced.graph.inputs
    values = {v: b.input(v.type, v.hint) for v in old[: traced.arguments]}
    for value, outside in zip(old[traced.arguments :], traced.outside, strict=True):
        assert isinstance(outside, Outside)
        values[value] = b.const(outside.found()._elements(), value)
    new = replay_into(b, traced.graph, values)
    return b.build([new[traced.graph.outputs[leaf.index]] for leaf in traced.leaves], name)
