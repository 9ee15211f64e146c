from collections.abc import Callable
from typing import Any

from rustorch.inspection.inspection import Inspection

__all__ = ["Inspection", "inspect"]

def inspect(function: Callable[..., Any]) -> Callable[..., Inspection]: ...
