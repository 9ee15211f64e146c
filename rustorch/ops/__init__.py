"""The vocabulary: importing this package registers every op."""

from rustorch.ops import constant, contraction, elementwise, indexing, movement, random, reduction
from rustorch.ops.interpret import interpret

__all__ = ["constant", "contraction", "elementwise", "indexing", "interpret", "movement", "random", "reduction"]
