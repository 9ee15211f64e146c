"""Flags, read once from the environment when the library is imported."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass
class Config:
    """One flag a field; each is set by `RUSTORCH_<NAME>`."""

    eager: bool = False
    """Run operation by operation through the numpy references (for pdb and differential tests)."""
    verify: bool = False
    """Verify every graph after every pass."""
    sight: int = 2
    """When a recorded program is compiled: 1 at once, 2 when it is seen again (and at once where that pays)."""
    isa: str = "host"
    """Instruction set level: `host`, `v2`, `v3` or `v4` (x86-64 levels)."""
    dump: str = ""
    """Folder that receives the text of every stage of every compiled graph; empty writes nothing."""
    log: str = ""
    """Comma-separated topics written to standard error: `compile`, `recompiles`, `segments`, `cache`."""
    cache: bool = True
    """Whether compiled code is kept on disk for the next process; `RUSTORCH_CACHE=0` switches it off."""
    cache_dir: str = ""
    """Folder of that cache; by default `rustorch` in `$XDG_CACHE_HOME` or in `~/.cache`. Empty: there is none."""
    cache_bytes: int = 512 << 20
    """The most that it may hold; beyond, what was not used for longest goes."""
    num_threads: int = 0
    """Threads of parallel loops; 0: as many as there are processors for this process."""

    def logs(self, topic: str) -> bool:
        """Whether `topic` is written to the log."""
        return topic in self.log.split(",")


def read_environment() -> Config:
    """The configuration that the `RUSTORCH_*` variables ask for."""
    flags = Config()
    truthy = {"1", "true", "yes", "on"}
    flags.eager = os.environ.get("RUSTORCH_EAGER", "").lower() in truthy
    flags.verify = os.environ.get("RUSTORCH_VERIFY", "").lower() in truthy
    flags.sight = _whole("RUSTORCH_SIGHT", flags.sight)
    flags.isa = os.environ.get("RUSTORCH_ISA", "host")
    flags.dump = os.environ.get("RUSTORCH_DUMP", "")
    flags.log = os.environ.get("RUSTORCH_LOG", "")
    flags.cache = os.environ.get("RUSTORCH_CACHE", "1").lower() in truthy
    flags.cache_dir = os.environ.get("RUSTORCH_CACHE_DIR", _default_folder())
    flags.cache_bytes = _whole("RUSTORCH_CACHE_BYTES", flags.cache_bytes)
    flags.num_threads = _whole("RUSTORCH_NUM_THREADS", flags.num_threads)
    return flags


def _whole(name: str, default: int) -> int:
    """A whole number from the environment; what is none counts as not given."""
    text = os.environ.get(name, "").strip()
    return int(text) if text.isascii() and text.isdigit() else default


def _default_folder() -> str:
    """The user's own place for caches; empty where there is none."""
    base = os.environ.get("XDG_CACHE_HOME", "") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "rustorch") if os.path.isabs(base) else ""


config = read_environment()
