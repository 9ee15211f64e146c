"""The vocabulary: importing this package registers every op."""

from types import ModuleType

from rustorch.ops import (
    barrier,
    checked,
    constant,
    contraction,
    conversion,
    convolution,
    cumulative,
    custom,
    elementwise,
    exponential,
    factors,
    indexing,
    linalg,
    logic,
    loop,
    movement,
    random,
    reduction,
    sorting,
    special,
    trigonometry,
    window,
)
from rustorch.ops.interpret import interpret

MODULES: tuple[ModuleType, ...] = (
    elementwise, exponential, trigonometry, special, logic, conversion, reduction, movement, contraction, convolution, window, cumulative,
    sorting, linalg, factors, indexing, constant, random, custom, checked, barrier, loop,
)  # fmt: skip
"""The files of ops, in the order in which they are read."""

__all__ = ["MODULES", "interpret"]
