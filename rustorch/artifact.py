"""What code generation hands to the runtime and to export: object bytes, how to call them, what they need.

An `Artifact` is pure data. Its one native entry has a C signature that never changes:

    int32_t SYMBOL(const int64_t *dims, void *const *args, void *work, const void *executor);

`dims` holds the values of the symbolic dimensions in the order of `Artifact.dims`; `args` the addresses of the inputs and
then of the outputs, each C-contiguous; `work` a 64-byte aligned workspace of `work_bytes`; `executor` is null or the
caller's executor. It returns 0, or the number of the check that failed.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ArgSpec:
    """One buffer of the native entry: its name, element type (`f32`, `i64`, `bool` …) and sizes.

    A size is an int, or the text of a dimension expression over the names in `Artifact.dims` (such as `n` or `2*n + 1`).
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Artifact:
    """A compiled graph as data: relocatable object bytes (ELF, position independent) and its call plan."""

    symbol: str
    object: bytes
    inputs: tuple[ArgSpec, ...]
    outputs: tuple[ArgSpec, ...]
    dims: tuple[str, ...] = ()
    work_bytes: int | str = 0
    level: str = "v2"
    requires: tuple[str, ...] = ()
    """Symbols of shared microkernels that must be loaded first."""
    kernels: int = 0
    """Number of fused kernels behind the entry."""
    checks: tuple[str, ...] = ()
    """Message of check number k (the entry returns k + 1)."""
    stages: dict[str, str] = field(default_factory=dict, compare=False)
    """Text of the stages, when they were asked for."""
