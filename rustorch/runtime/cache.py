"""The cache on disk: native libraries and what is known about them, one file each, by key.

A file is a shared library, which the system's loader opens where it lies, with a tail that the loader does not read: what belongs to
it as JSON, and a digest of everything before. So a file is whole or it is nothing: one that was cut short, or changed, is not used
and is taken away. Files are written under another name and renamed, so that many processes may write and read at the same time.

The cache never stands in the way: where the folder cannot be written, where the disk is full, where others could have written into
it, programs are compiled as if there were none.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from rustorch.config import config
from rustorch.errors import ArgumentError, compose

MAGIC = b"rustorch-cache-1"
_LENGTH = struct.Struct("<Q")
_TAIL_BYTES = _LENGTH.size + hashlib.sha256().digest_size + len(MAGIC)
FRESH = 3600
"""Seconds: so old a file's time of last use may be before it is renewed; an unfinished file that is older is nobody's."""
KEPT = 0.8
"""The share of its limit to which a cache is emptied."""
SCAN_BYTES = 16 << 20
"""So much is written between two looks at the size of the whole."""
BLOCK = 4096
"""What a file takes at least."""
SUFFIX = ".so"


class Found(NamedTuple):
    """A file of the cache: where its library is, and what is known about it."""

    path: Path
    facts: dict[str, Any]


class Info(NamedTuple):
    """What a cache holds."""

    folder: str
    files: int
    bytes: int
    limit: int
    broken: str
    """Why nothing is written any more; empty while all is well."""


class Cache:
    """The files in a folder. Methods raise no `OSError`: what cannot be read is not there, what cannot be written is not kept."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self.broken = ""
        self._unseen = SCAN_BYTES  # look at the size of the whole after the first file that is written
        self._numbers = count()

    def find(self, key: str) -> Found | None:
        """The file of a key."""
        path = self._path(key)
        try:
            content = path.read_bytes()
            seconds = path.stat().st_mtime
        except OSError:
            return None
        facts = unsealed(content)
        if facts is None:
            self._say(f"{path} is not whole, and is made anew")
            _remove(path)
            return None
        if time.time() - seconds > FRESH:
            with suppress(OSError):
                os.utime(path)  # it was used: others go first
        return Found(path, facts)

    def save(self, key: str, facts: Mapping[str, Any], library: bytes) -> Path | None:
        """Keep a library and what is known about it; None where that is not possible."""
        return self._write(key, sealed(facts, library))

    def _write(self, key: str, content: bytes) -> Path | None:
        if self.broken:
            return None
        path = self._path(key)
        unfinished = path.with_name(f"{path.name}.{os.getpid()}.{next(self._numbers)}.tmp")
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            unfinished.write_bytes(content)
            os.replace(unfinished, path)
        except OSError as error:
            _remove(unfinished)
            self.broken = f"{error.strerror or error} ({self.folder})"
            self._say(f"nothing is kept any more: {self.broken}")
            return None
        self._unseen += max(len(content), BLOCK)
        if self._unseen >= SCAN_BYTES:
            self._unseen = 0
            self.evict()
        return path

    def evict(self) -> None:
        """Take away what was not used for longest, where there is more than the limit, and what was never finished."""
        now = time.time()
        files: list[tuple[float, int, Path]] = []
        for path, status in self._files():
            if path.suffix == SUFFIX:
                files.append((status.st_mtime, max(status.st_size, BLOCK), path))
            elif now - status.st_mtime > FRESH:
                _remove(path)
        total = sum(size for _, size, _ in files)
        if total <= self.limit:
            return
        for _, size, path in sorted(files):
            _remove(path)
            total -= size
            if total <= KEPT * self.limit:
                break

    def clear(self) -> int:
        """Take everything away; the number of files."""
        paths = [path for path, _ in self._files()]
        for path in paths:
            _remove(path)
        self.broken = ""
        return len(paths)

    def info(self) -> Info:
        """What is there."""
        sizes = [max(status.st_size, BLOCK) for path, status in self._files() if path.suffix == SUFFIX]
        return Info(str(self.folder), len(sizes), sum(sizes), self.limit, self.broken)

    def pack(self, target: Path) -> int:
        """Write all whole files into one archive, for another machine; their number. Raises `OSError` where it cannot be written."""
        import tarfile  # slow to import, and seldom wanted

        packed = 0
        with tarfile.open(target, "w:gz") as archive:
            for path, status in self._files():
                content = _content(path)
                if path.suffix == SUFFIX and unsealed(content) is not None:
                    entry = tarfile.TarInfo(path.stem)
                    entry.size, entry.mtime = len(content), int(status.st_mtime)
                    archive.addfile(entry, io.BytesIO(content))
                    packed += 1
        return packed

    def unpack(self, source: Path) -> int:
        """Take in the files of an archive that `pack` wrote; their number. Raises `ArgumentError` for anything else."""
        import tarfile  # as in `pack`

        taken = 0
        try:
            with tarfile.open(source, "r:gz") as archive:
                for entry in archive:
                    file = archive.extractfile(entry)
                    content = file.read() if file is not None else b""
                    if not _is_key(entry.name) or unsealed(content) is None:
                        raise ArgumentError(compose(f"{source} is no packed cache", f"its entry {entry.name!r} is none of a cache"))
                    taken += self._write(entry.name, content) is not None
        except (OSError, tarfile.TarError, EOFError) as error:
            raise ArgumentError(compose(f"{source} is no packed cache", str(error))) from None
        return taken

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}{SUFFIX}"

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """The cache's own files."""
        try:
            rooms = [room for room in os.scandir(self.folder) if len(room.name) == 2 and room.is_dir(follow_symlinks=False)]
            for room in rooms:
                for each in os.scandir(room):
                    try:
                        yield Path(each.path), each.stat(follow_symlinks=False)
                    except OSError:
                        continue  # another process was faster
        except OSError:
            return

    def _say(self, what: str) -> None:
        if config.logs("cache"):
            print(f"rustorch: cache: {what}", file=sys.stderr)


def sealed(facts: Mapping[str, Any], library: bytes) -> bytes:
    """The content of a file."""
    more = json.dumps(facts, separators=(",", ":"), sort_keys=True).encode()
    content = b"".join([library, more, _LENGTH.pack(len(more))])
    return b"".join([content, hashlib.sha256(content).digest(), MAGIC])


def unsealed(content: bytes) -> dict[str, Any] | None:
    """The facts in a file's content; None where it is not whole."""
    if len(content) < _TAIL_BYTES or not content.endswith(MAGIC):
        return None
    body, tail = memoryview(content)[: -_TAIL_BYTES + _LENGTH.size], content[-_TAIL_BYTES + _LENGTH.size : -len(MAGIC)]
    if hashlib.sha256(body).digest() != tail:
        return None
    (length,) = _LENGTH.unpack(body[-_LENGTH.size :])
    facts: dict[str, Any] = json.loads(bytes(body[len(body) - _LENGTH.size - length : -_LENGTH.size]))
    return facts


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _is_key(name: str) -> bool:
    return len(name) == 64 and set(name) <= set("0123456789abcdef")


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _is_ours(folder: Path) -> bool:
    """Whether nobody but this user (or root) may write into a folder, as far as it exists: what lies there is run."""
    try:
        status = folder.stat()
    except OSError:
        return True  # not there yet
    return status.st_uid in (os.geteuid(), 0) and not status.st_mode & 0o002


def open_cache() -> Cache | None:
    """The cache of this process, as the configuration says; None where there is none."""
    if not config.cache or not config.cache_dir:
        return None
    folder = Path(config.cache_dir)
    if not _is_ours(folder):
        if config.logs("cache"):
            print(f"rustorch: cache: {folder} is not used: others may write into it", file=sys.stderr)
        return None
    return Cache(folder, config.cache_bytes)
