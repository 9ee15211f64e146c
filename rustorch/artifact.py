"""What code generation hands to the runtime and to export: object bytes, how to call them, what they need.

An `Artifact` is pure data. Its one native entry has a C signature that never changes:

    int32_t SYMBOL(const int64_t *dims, void *const *args, void *work, const void *executor);

`dims` holds the values of the symbolic dimensions in the order of `Artifact.dims`; `args` the addresses of the inputs and
then of the outputs, each C-contiguous; `work` a 64-byte aligned workspace of `work_bytes`; `executor` is null, then everything
runs on the calling thread, or the caller's executor (`EXECUTOR`). The results are the same, bit for bit. It returns 0, or the
number of the check that failed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

EXECUTOR = {"size": 0, "parallel_for": 8, "context": 16, "isa_cap": 24}
"""Byte offsets in an executor: u32 size of the record, function, its first argument, u32 (unused).

    void parallel_for(void *context, int64_t n, void (*body)(void *argument, int64_t low, int64_t high), void *argument)

calls `body` until every task 0 .. n-1 has been in one of its ranges, on any threads, and returns when all calls have.
"""

MOST_THREADS = 256
WORKER_BYTES = 64
"""Of the record of one worker: the pool's address and the worker's number."""
POOL = {
    **EXECUTOR,
    # Each counter that threads meet at has a cache line of its own.
    "generation": 64, "members": 128, "next": 192, "sleepers": 256,
    "busy": 320, "alive": 324, "wanted": 328,
    "body": 384, "argument": 392, "tasks": 400, "grain": 408,
    "create": 448, "detach": 456, "syscall": 464,
    "workers": 512,
}  # fmt: skip
"""Byte offsets in the record of the worker pool, which begins with the executor that names it (`codegen/emit_pool.py`)."""
POOL_BYTES = POOL["workers"] + MOST_THREADS * WORKER_BYTES


@dataclass(frozen=True)
class ArgSpec:
    """One buffer of the native entry: its name, element type (`f32`, `i64`, `bool` …) and sizes.

    A size is an int, or the text of a dimension expression over the names in `Artifact.dims` (such as `n` or `2*n + 1`).
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class CalloutSpec:
    """A function outside that the driver calls by a symbol of its own:

        int32_t SYMBOL(const int64_t *sizes, void *const *memory)

    `sizes` are those of all axes of all operands, then of all results; `memory` their addresses, each C-contiguous. It fills the
    results and returns 0, or another number where it could not.
    """

    symbol: str
    op: str
    attrs: tuple[tuple[str, bool | int | float | str], ...]
    operands: tuple[tuple[str, int], ...]
    """Element type and number of axes of each."""
    results: tuple[tuple[str, int], ...]


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
    is_parallel: bool = False
    """Whether it has loops for an executor."""
    checks: tuple[str, ...] = ()
    """Message of check number k (the entry returns k + 1)."""
    callouts: tuple[CalloutSpec, ...] = ()
    """Functions outside whose addresses must be given when it is loaded."""
    stages: dict[str, str] = field(default_factory=dict, compare=False)
    """Text of the stages, when they were asked for."""


@dataclass(frozen=True)
class Layout:
    """Byte offsets inside CPython's and numpy's objects, as found in this process."""

    type: int
    """An object's pointer to its type."""
    tuple_items: int
    float_value: int
    array_data: int
    array_rank: int
    """32 bits, as `array_flags`."""
    array_sizes: int
    """Pointer to the sizes, 64 bits each."""
    array_strides: int
    array_dtype: int
    array_flags: int


@dataclass(frozen=True)
class Source:
    """Where one input of the native entry comes from when Python calls.

    `kind` is `array` (an exact ndarray), `tensor` (an exact Tensor), `float` or `int` (a Python number, converted to the
    input's element type) — then `index` counts the arguments of the call — or `captured`: tensor number `index` of a list
    that was fixed when the entry was made. `guards` are pairs (slot, name of the object that must be in it) of the tensor.
    """

    kind: str
    index: int
    guards: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Result:
    """What becomes of one output: returned as an `array` or a `tensor`, or stored into tensor `index` of those `captured`.

    Of those that are returned, `index` is the place in the answer; `fresh` are pairs (slot, name of the object) of this
    tensor, besides those of every tensor.
    """

    kind: str
    index: int = 0
    guards: tuple[tuple[str, str], ...] = ()
    fresh: tuple[tuple[str, str], ...] = ()
    sized: str = ""
    """The slot that receives this result's part of what `Signature.by_size` holds."""


@dataclass(frozen=True)
class TensorSlots:
    """The slots of the Tensor class that an entry touches; objects are named, and given when the entry is made."""

    value: str
    """Holds the ndarray."""
    fresh: tuple[tuple[str, str], ...] = ()
    """Pairs (slot, name of the object) of a tensor that the entry makes."""
    version: str = ""
    """Holds an int that grows by one when the tensor is written; empty: no slot does."""


@dataclass(frozen=True)
class Signature:
    """How Python calls a compiled graph: what the emitted entry checks, unpacks, allocates and returns.

    Pure data, so that one entry serves every graph of the same signature.
    """

    arguments: int
    """Positional arguments of the call."""
    inputs: tuple[ArgSpec, ...]
    sources: tuple[Source, ...]
    outputs: tuple[ArgSpec, ...]
    results: tuple[Result, ...]
    dims: tuple[str, ...] = ()
    least: int = 2
    """Smallest value of a symbolic dimension."""
    conditions: tuple[tuple[str, int], ...] = ()
    """Pairs (expression over the dimensions, its smallest value)."""
    by_size: str = ""
    """Name of a dict from the dimensions' values (bytes: 64 bits each) to a tuple of one object per output; what is not in it
    goes to the fallback. The objects must live as long as the process."""
    work_bytes: int | str = 0
    cost: int | str = 0
    """Bytes moved or operations done, whichever is more: above `release_above` the kernel runs without the interpreter's lock."""
    release_above: int = 1 << 16
    slots: TensorSlots | None = None
    constants: tuple[tuple[int, str], ...] = ()
    """Pairs (argument, name of the object that it must be); such an argument is no input."""
    as_tuple: bool = False
    """Return a tuple even where one output is returned."""
    epoch: bool = False
    """Compare a counter with its value at the time when the entry was made."""
    keywords: bool = False
    """Send calls with keywords to the fallback; otherwise they are a TypeError."""


@dataclass(frozen=True)
class EntryPlan:
    """An emitted entry: its LLVM text and what the runtime must put where the entry reads it.

    `self` of the entry is a tuple: an array of addresses, in the order of `addresses`, then the `objects`. Both are names:

    - objects: `type.ndarray`, `type.tensor`, `type.float`, `type.int`, `dtype.f32` and its like, `fallback`, `none`, `one`, `take`,
      `object.NAME` (a named object), `captured.K` (a captured tensor);
    - addresses: `driver`, `executor`, `work_bytes`, `arena`, `epoch`, `epoch_now`, and API functions by their C name.
    """

    symbol: str
    text: str
    objects: tuple[str, ...]
    addresses: tuple[str, ...]
    captured: int
    keywords: bool
