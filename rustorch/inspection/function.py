"""`inspect(f)(*args)`: trace a function as `jit` does, and look at what becomes of it."""

from __future__ import annotations

import inspect as python
from collections.abc import Callable
from typing import Any

from rustorch.errors import ArgumentError, compose
from rustorch.frontend.base import TensorBase
from rustorch.frontend.jit import JitFunction, jit
from rustorch.frontend.program import runnable_form
from rustorch.frontend.trace import Outside


def inspect(function: Callable[..., Any]) -> Callable[..., Any]:
    """What the compiler makes of a function, a transform of one, a Module or a training step, for given arguments.

    The function is traced, not run: nothing that it would change is changed.

        seen = rustorch.inspect(rustorch.value_and_grad(loss))(x)
        print(seen)                     # a summary on one screen
        print(seen.text("simplified"))  # source, traced, differentiated, simplified, fused, loop, llvm, asm
        seen.to_html("loss.html")
    """
    if not callable(function):
        raise ArgumentError(compose(f"inspect takes a function, not {type(function).__name__}", todo="Write rustorch.inspect(f)(x)."))
    traceable: JitFunction = function if isinstance(function, JitFunction) else jit(function)

    def look(*args: Any, **kwargs: Any) -> Any:
        from rustorch.inspection.inspection import Inspection  # takes a moment to import

        traced = traceable.lower(*args, **kwargs).traced
        names = outside_names(traceable.function)
        for value, outside in zip(traced.graph.inputs[traced.arguments :], traced.outside, strict=True):
            if isinstance(outside, Outside) and not value.hint:
                name = names.get(id(outside.tensor), "")
                value.hint = f"{name}_grad" if name and outside.gradient else name
        graph, _, _ = runnable_form(traced.graph.inputs, traced.graph.nodes, traced.graph.outputs, traced.graph.name)
        return Inspection.of_graph(graph, traced.name, traced.graph)

    return look


def outside_names(function: Callable[..., Any]) -> dict[int, str]:
    """Names, by `id`, of the tensors that a function takes from outside: those of the variables that it, and the functions that it
    calls, see; those of Modules' parameters, and of optimisers' states."""
    found: dict[int, str] = {}
    seen: set[int] = set()
    pending: list[tuple[str, Any]] = [("", function)]
    while pending:
        name, value = pending.pop(0)
        if id(value) in seen or len(seen) > LOOKED_AT:
            continue
        seen.add(id(value))
        if isinstance(value, TensorBase):
            found.setdefault(id(value), name)
        elif isinstance(value, dict):
            pending += [(f"{name}_{key if isinstance(key, str) else k}", x) for k, (key, x) in enumerate(value.items())]
        elif isinstance(value, (list, tuple)):
            pending += [(f"{name}_{k}", x) for k, x in enumerate(value)]
        elif hasattr(value, "named_parameters") and not isinstance(value, type):
            pending += [(f"{name}_{path}".strip("_").replace(".", "_"), x) for path, x in value.named_parameters()]
        elif hasattr(value, "param_groups"):  # an optimiser: its state, by parameter
            pending += [(name, dict(value.state)), (name, value.param_groups)]
        elif callable(value) and not isinstance(value, type):
            pending += _variables(value)
    return found


LOOKED_AT = 1000
"""So many variables are looked at for names."""


def _variables(function: Callable[..., Any]) -> list[tuple[str, Any]]:
    """The variables from outside that a function reads; none for what is no Python function or is the library's own."""
    plain = python.unwrap(function)
    owner = getattr(plain, "__self__", None)
    plain = getattr(plain, "__func__", plain)
    if not python.isfunction(plain) or plain.__module__.split(".")[0] == "rustorch":
        return []
    seen = python.getclosurevars(plain)
    variables = [*seen.nonlocals.items(), *seen.globals.items()]
    return variables if owner is None else [("", owner), *variables]
