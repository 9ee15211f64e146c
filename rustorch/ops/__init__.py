"""The vocabulary: importing this package registers every op."""

from rustorch.ops import constant, contraction, conversion, elementwise, indexing, logic, movement, random, reduction
from rustorch.ops.interpret import interpret

__all__ = ["constant", "contraction", "conversion", "elementwise", "indexing", "interpret", "logic", "movement", "random", "reduction"]
