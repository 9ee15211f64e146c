"""The vocabulary: importing this package registers every op."""

from rustorch.ops import (
    barrier,
    constant,
    contraction,
    conversion,
    convolution,
    custom,
    elementwise,
    exponential,
    indexing,
    logic,
    loop,
    movement,
    random,
    reduction,
    special,
    trigonometry,
    window,
)
from rustorch.ops.interpret import interpret

__all__ = [
    "barrier",
    "constant",
    "contraction",
    "conversion",
    "convolution",
    "custom",
    "elementwise",
    "exponential",
    "indexing",
    "interpret",
    "logic",
    "loop",
    "movement",
    "random",
    "reduction",
    "special",
    "trigonometry",
    "window",
]
