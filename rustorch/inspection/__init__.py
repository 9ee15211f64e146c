"""Looking at what the compiler makes of a function: every stage as text, as records, as a graph, as a page."""

from rustorch.inspection.function import inspect
from rustorch.inspection.inspection import Inspection

__all__ = ["Inspection", "inspect"]
