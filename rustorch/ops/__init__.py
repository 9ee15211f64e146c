"""The vocabulary: importing this package registers every op."""

from rustorch.ops import (
    constant,
    contraction,
    conversion,
    convolution,
    custom,
    elementwise,
    indexing,
    logic,
    loop,
    movement,
    random,
    reduction,
    special,
    window,
)
from rustorch.ops.interpret import interpret

__all__ = [
    "constant",
    "contraction",
    "conversion",
    "convolution",
    "custom",
    "elementwise",
    "indexing",
    "interpret",
    "logic",
    "loop",
    "movement",
    "random",
    "reduction",
    "special",
    "window",
]
