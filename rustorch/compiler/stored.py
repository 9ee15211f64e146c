"""Compiled code on disk: graphs, Python entries and the worker pool, found again by the next process.

What is found is opened without running any pass and without importing LLVM or code generation. A key says everything that the code
depends on: the graph (or the signature), the level, the sources of the compiler, the version of llvmlite.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import re
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from rustorch.artifact import ArgSpec, Artifact, EntryPlan, Layout, Signature
from rustorch.codegen.target import Target, target
from rustorch.config import config
from rustorch.errors import CompilerBug
from rustorch.runtime import threads
from rustorch.runtime.cache import Cache, open_cache
from rustorch.runtime.executable import Executable
from rustorch.runtime.loader import Loaded, linked, open_library

SOURCES = ("artifact.py", "codegen", "compiler", "ir", "ops", "passes", "runtime")
"""Parts of the library whose text decides what code is made."""


@functools.cache
def cache() -> Cache | None:
    """The cache of this process; None where there is none, or where it cannot be known what code depends on."""
    opened = open_cache() if sys.platform == "linux" else None
    return opened if opened is not None and compiler_identity() else None


def _writable() -> Cache | None:
    """The cache, where something can still be kept in it."""
    store = cache()
    return store if store is not None and not store.broken else None


def native_target(isa: str = "") -> Target:
    """The target of an instruction set level; that of the configuration unless given."""
    return target(isa or config.isa)


# --- Keys -------------------------------------------------------------------------------------------------------------


@functools.cache
def compiler_identity() -> str:
    """A digest of the compiler's sources and of llvmlite's version; empty where they cannot be read."""
    root = Path(__file__).parent.parent
    spec = find_spec("llvmlite")
    if spec is None or not spec.origin:
        return ""
    content = hashlib.sha256()
    try:
        version = (Path(spec.origin).parent / "_version.py").read_bytes()
        for part in SOURCES:
            paths = sorted((root / part).glob("*.py")) if (root / part).is_dir() else [root / part]
            for path in paths:
                content.update(path.name.encode() + b"\0" + path.read_bytes())
    except OSError:
        return ""
    content.update(b"".join(re.findall(rb"version[^\n]*", version)))
    return content.hexdigest()


def key_of(kind: str, *parts: object) -> str:
    """The key of a thing of a kind that depends on `parts`, besides the compiler and the level."""
    words = (kind, compiler_identity(), native_target(), *parts)
    return hashlib.sha256("\0".join(map(repr, words)).encode()).hexdigest()


# --- Graphs -----------------------------------------------------------------------------------------------------------


def find_graph(digest: str) -> Executable | None:
    """The code of a graph, by the digest that it was given with."""
    store = cache()
    if store is None:
        return None
    found = store.find(key_of("graph", digest))
    if found is None:
        return None
    artifact = _artifact(found.facts)
    if artifact is None or (artifact.is_parallel and not pool()):
        return None
    loaded = open_library(str(found.path), [artifact.symbol])
    return None if loaded is None else Executable(artifact, loaded, threads.executor() if artifact.is_parallel else 0)


def was_seen(digest: str) -> bool:
    """Whether an earlier process has had this graph without compiling it; if not, that this one has is noted."""
    store = cache()
    if store is None:
        return False
    key = key_of("seen", digest)
    if store.find(key) is not None:
        return True
    store.save(key, {}, b"")
    return False


def save_graph(digest: str, artifact: Artifact, shared: Sequence[bytes]) -> None:
    """Keep the code of a graph, linked with the objects of the shared products that it calls."""
    store = _writable()
    if store is None:
        return
    facts = dataclasses.asdict(artifact)
    del facts["object"], facts["stages"]
    try:
        library = linked([artifact.object, *shared], [artifact.symbol], "graph.so")
    except CompilerBug:
        return  # it needs something from outside, which only this process knows
    store.save(key_of("graph", digest), facts, library)


def _artifact(facts: Mapping[str, Any]) -> Artifact | None:
    """The artifact that was saved; None for one of another form."""
    try:
        known = _with_tuples(facts)
        for name in ("inputs", "outputs"):
            known[name] = tuple([ArgSpec(one["name"], one["dtype"], tuple(one["shape"])) for one in known[name]])
        return Artifact(object=b"", **known)
    except (KeyError, TypeError):
        return None


def _with_tuples(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts as they were before they were JSON."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in facts.items()}


# --- Entries and the pool ---------------------------------------------------------------------------------------------


def entry_key(signature: Signature, probed: Layout, slots: Mapping[str, int]) -> str:
    """The key of a Python entry: the text depends on its signature, and on where this interpreter and numpy keep things."""
    return key_of("entry", signature, probed, sorted(slots.items()), sys.version, np.__version__)


def find_entry(key: str) -> tuple[EntryPlan, Loaded] | None:
    """The plan and the code of a Python entry."""
    store = cache()
    found = store.find(key) if store is not None else None
    if found is None:
        return None
    try:
        plan = EntryPlan(text="", **_with_tuples(found.facts))
    except TypeError:
        return None
    loaded = open_library(str(found.path), [plan.symbol])
    return None if loaded is None else (plan, loaded)


def save_entry(key: str, plan: EntryPlan, code: bytes) -> None:
    """Keep a Python entry."""
    store = _writable()
    if store is not None:
        facts = dataclasses.asdict(plan)
        del facts["text"]
        store.save(key, facts, linked([code], [plan.symbol], "entry.so"))


def pool() -> int:
    """The address of the process's worker pool, made of what is on disk unless it is there; 0 where neither is."""
    store = cache()
    if threads.executor() or store is None:
        return threads.executor()
    found = store.find(key_of("pool"))
    names = found.facts.get("symbols", ()) if found is not None else ()
    if found is None or len(names) != 2:
        return 0
    loaded = open_library(str(found.path), names)
    return 0 if loaded is None else threads.install(loaded, *names)


def save_pool(code: bytes, symbols: Sequence[str]) -> None:
    """Keep the worker pool's code."""
    store = _writable()
    if store is not None:
        store.save(key_of("pool"), {"symbols": list(symbols)}, linked([code], symbols, "pool.so"))


def forget() -> None:
    """Read the configuration again (for tests)."""
    cache.cache_clear()
