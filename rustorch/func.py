"""Transforms of functions, as `torch.func` and JAX have them, and modules as functions of their parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rustorch.errors import ArgumentError, GradError, compose
from rustorch.frontend.batching import vmap
from rustorch.frontend.movement import stack
from rustorch.frontend.transforms import grad, grad_and_value, hessian, jacfwd, jacrev, jvp, linearize, value_and_grad, vjp


def functional_call(
    module: Any,
    parameter_and_buffer_dicts: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """The result of a module with other parameters and buffers, given by their names; the module itself keeps its own.

    `args` is a tuple of arguments, or a single one. With `tie_weights`, a parameter that the module has under several names is replaced
    under all of them. With `strict`, names that the module lacks, or that are not given, are an error.
    """
    if isinstance(parameter_and_buffer_dicts, Mapping):
        dicts: Sequence[Mapping[str, Any]] = [parameter_and_buffer_dicts]
    elif isinstance(parameter_and_buffer_dicts, Sequence) and all(isinstance(d, Mapping) for d in parameter_and_buffer_dicts):
        dicts = parameter_and_buffer_dicts
    else:
        raise ArgumentError(
            "Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, but got "
            f"{type(parameter_and_buffer_dicts)}"
        )
    names = [name for d in dicts for name in d]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ArgumentError(f"{repeated} appeared in multiple dictionaries; behavior of functional call is ambiguous")
    given = {name: x for d in dicts for name, x in d.items()}
    with _replaced(module, given, tie_weights, strict):
        return module(*(() if args is None else args if isinstance(args, tuple) else (args,)), **(kwargs or {}))


@contextmanager
def _replaced(module: Any, given: Mapping[str, Any], tie_weights: bool, strict: bool) -> Iterator[None]:
    """The module with other parameters and buffers inside."""
    own = {name: (part, kind) for kind in ("_parameters", "_buffers") for name, part in _parts(module, kind)}
    unexpected, missing = sorted(given.keys() - own.keys()), sorted(own.keys() - given.keys())
    replaced = {name: x for name, x in given.items() if name in own}
    if tie_weights:
        by_part = {id(own[name][0]): x for name, x in replaced.items()}
        replaced |= {name: by_part[id(part)] for name, (part, _) in own.items() if id(part) in by_part and name not in replaced}
        missing = [name for name in missing if name not in replaced]
    if strict and (unexpected or missing):
        lines = [f"Error(s) in reparametrizing for {type(module).__name__}:"]
        lines += [f"\tUnexpected key(s): {', '.join(map(repr, unexpected))}."] if unexpected else []
        lines += [f"\tMissing key(s): {', '.join(map(repr, missing))}."] if missing else []
        raise GradError("\n".join(lines))
    before: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for name, x in replaced.items():
            path, _, last = name.rpartition(".")
            parts = getattr(module.get_submodule(path), own[name][1])
            before.append((parts, last, parts[last]))
            parts[last] = x
        yield
    finally:
        for parts, last, part in reversed(before):
            parts[last] = part


def _parts(module: Any, kind: str) -> Iterator[tuple[str, Any]]:
    """All parameters or buffers with their names; those with several names under each."""
    for path, each in module.named_modules(remove_duplicate=False):
        for name, part in getattr(each, kind).items():
            if part is not None:
                yield (f"{path}.{name}" if path else name), part


def stack_module_state(models: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters and the buffers of modules of one class, each stacked along a new first dimension: for `vmap` over an ensemble."""
    models = list(models)
    if not models:
        raise GradError("stack_module_state: Expected at least one model, got 0.")
    if len({m.training for m in models}) > 1:
        raise GradError("stack_module_state: Expected all models to have the same training/eval mode.")
    if len({type(m) for m in models}) > 1:
        raise GradError(
            compose(
                "stack_module_state: Expected all models to be of the same class.", f"found {sorted({type(m).__name__ for m in models})}"
            )
        )
    stacked = []
    for named in ("named_parameters", "named_buffers"):
        columns = [dict(getattr(m, named)()) for m in models]
        stacked.append({name: _stacked([c[name] for c in columns]) for name in columns[0]})
    return stacked[0], stacked[1]


def _stacked(tensors: Sequence[Any]) -> Any:
    """Tensors along a new first dimension: a leaf that requires gradients if they do."""
    if len({x.requires_grad for x in tensors}) > 1:
        raise GradError(
            "Expected tensors in sequence to have the same requires_grad: some of the models' parameters require gradients and some do not"
        )
    return stack([x.detach() for x in tensors]).requires_grad_(tensors[0].requires_grad)


__all__ = [
    "functional_call",
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "stack_module_state",
    "value_and_grad",
    "vjp",
    "vmap",
]
