"""`rustorch env`: what a bug report needs to know about the machine. Needs no extra."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
from pathlib import Path

from rustorch.codegen.assemble import llvm_version
from rustorch.codegen.target import host_level
from rustorch.version import VERSION

PACKAGES = ("numpy", "llvmlite", "networkx")
VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE", "MKL_NUM_THREADS", "PYTHONPATH")
"""Variables of others that change what rustorch runs on; those that begin with `RUSTORCH_` are shown always."""


def describe(command: argparse.ArgumentParser) -> None:
    """Add the options of `rustorch env` to its parser."""
    command.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Print the environment."""
    found = environment()
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        width = max(map(len, found))
        print("\n".join(f"{name:<{width}}  {value}" for name, value in found.items()))
    return 0


def environment() -> dict[str, str | int]:
    """Versions, machine and relevant variables, by name, in the order in which they are printed."""
    found: dict[str, str | int] = {"rustorch": VERSION, "python": f"{platform.python_version()} ({platform.python_implementation()})"}
    found |= {name: package_version(name) for name in PACKAGES}
    found["llvm"] = llvm_version()
    found |= {
        "platform": platform.platform(),
        "libc": " ".join(platform.libc_ver()).strip() or "unknown",
        "cpu": cpu_model(),
        "isa level": f"x86-64-{host_level()}" if platform.machine() in {"x86_64", "AMD64"} else f"{platform.machine()}: not supported",
        "cores": usable_cores(),
    }
    found |= {name: value for name, value in sorted(os.environ.items()) if name.startswith("RUSTORCH_") or name in VARIABLES}
    return found


def package_version(name: str) -> str:
    """The installed version of a package, read without importing it."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def cpu_model() -> str:
    """The processor's name as the kernel gives it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def usable_cores() -> int:
    """Cores that this process may run on: an affinity mask or a container can leave fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
