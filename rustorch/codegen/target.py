"""What the machine can do: instruction set level, vector width, caches."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from rustorch.errors import Unsupported


@dataclass(frozen=True)
class Target:
    """An x86-64 level and what follows from it. `cpu` is LLVM's name of the level: code is emitted for exactly that level."""

    level: str
    vector_bytes: int
    has_fma: bool
    l1_bytes: int = 32 * 1024
    l2_bytes: int = 1024 * 1024

    @property
    def cpu(self) -> str:
        """LLVM's name of this level."""
        return "x86-64" if self.level == "v1" else f"x86-64-{self.level}"

    @property
    def features(self) -> str:
        """LLVM feature string: 512-bit vectors where the level has them."""
        return "-prefer-256-bit" if self.level == "v4" else ""

    def lanes(self, bits: int) -> int:
        """Vector lanes of an element type of `bits` bits."""
        return self.vector_bytes * 8 // max(bits, 8)


LEVELS = {
    "v2": Target("v2", 16, has_fma=False),
    "v3": Target("v3", 32, has_fma=True),
    "v4": Target("v4", 64, has_fma=True),
}

_V3_FLAGS = {"avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"}
_V4_FLAGS = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}


@functools.lru_cache(maxsize=8)
def host_level(cpuinfo: str | None = None) -> str:
    """The highest x86-64 level of this machine, from the kernel's list of CPU flags."""
    if cpuinfo is None:
        path = Path("/proc/cpuinfo")
        cpuinfo = path.read_text() if path.exists() else ""
    line = next((line for line in cpuinfo.splitlines() if line.startswith("flags")), "")
    flags = set(line.split())
    if flags >= _V3_FLAGS:
        return "v4" if flags >= _V4_FLAGS else "v3"
    return "v2"


def target(level: str = "host") -> Target:
    """The target of an instruction set level; `host` is this machine's highest."""
    name = host_level() if level == "host" else level
    if name not in LEVELS:
        raise Unsupported(f"instruction set level {level!r}: choose one of host, {', '.join(LEVELS)}")
    return LEVELS[name]
