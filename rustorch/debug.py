"""Looking for mistakes: modes that refuse what is allowed, but is seldom meant."""

from __future__ import annotations

from rustorch.frontend.modes import strict_data

__all__ = ["strict_data"]
