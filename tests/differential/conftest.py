"""Differential tests: PyTorch is asked the same questions. They are left out where it is not installed (the extra `oracle`)."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = ["test_*.py"] if find_spec("torch") is None else []
