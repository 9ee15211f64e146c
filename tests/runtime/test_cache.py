"""The cache on disk, file by file: whole or nothing, bounded, never in the way."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from rustorch.config import config
from rustorch.errors import ArgumentError
from rustorch.runtime.cache import FRESH, Cache, open_cache, sealed, unsealed

KEY, OTHER = "ab" * 32, "cd" * 32


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", 1 << 20)


def test_what_was_saved_is_found(cache: Cache) -> None:
    path = cache.save(KEY, {"kernels": 3, "name": "ä"}, b"\x7fELF library")
    assert path is not None
    found = cache.find(KEY)
    assert found is not None
    assert (found.path, found.facts) == (path, {"kernels": 3, "name": "ä"})
    assert path.read_bytes().startswith(b"\x7fELF library")
    assert cache.find(OTHER) is None
    assert cache.info()[1:3] == (1, 4096)


@pytest.mark.parametrize("length", [0, 1, 10, 47, 60])
def test_a_file_cut_short_is_nothing_and_goes(cache: Cache, length: int) -> None:
    path = cache.save(KEY, {"a": 1}, b"library")
    assert path is not None
    path.write_bytes(path.read_bytes()[:length])
    assert cache.find(KEY) is None
    assert not path.exists()
    assert cache.save(KEY, {"a": 2}, b"library") == path
    found = cache.find(KEY)
    assert found is not None and found.facts == {"a": 2}


def test_any_changed_byte_is_seen() -> None:
    content = sealed({"a": 1}, b"library")
    assert unsealed(content) == {"a": 1}
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1
        assert unsealed(bytes(changed)) is None


def test_a_folder_in_the_place_of_a_file(cache: Cache) -> None:
    (cache.folder / KEY[:2] / f"{KEY}.so").mkdir(parents=True)
    assert cache.find(KEY) is None
    assert cache.save(KEY, {}, b"x") is None
    assert cache.broken


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("not a folder")
    cache = Cache(tmp_path / "cache", 1 << 20)
    assert cache.find(KEY) is None
    assert cache.save(KEY, {}, b"x") is None
    assert "Not a directory" in cache.broken or "exists" in cache.broken
    assert (cache.info().files, cache.clear()) == (0, 0)


def test_a_full_disk_is_survived(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        assert cache.save(KEY, {}, b"x" * 1000) is None
    assert cache.broken.startswith("No space left on device")
    assert [path for path in cache.folder.rglob("*") if path.is_file()] == []
    assert cache.save(KEY, {}, b"x") is None  # it is not tried again and again
    assert cache.find(KEY) is None


def test_a_read_only_folder_is_read(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    path = cache.save(KEY, {"a": 1}, b"x")
    assert path is not None
    os.utime(path, (time.time() - 2 * FRESH,) * 2)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for module, name in ((Path, "write_bytes"), (Path, "unlink"), (os, "utime"), (os, "replace")):
        monkeypatch.setattr(module, name, refuse)
    assert cache.find(KEY) is not None
    assert cache.save(OTHER, {}, b"x") is None
    assert cache.broken.startswith("Read-only file system")
    assert cache.clear() == 1
    assert cache.find(KEY) is not None


def test_what_was_not_used_for_longest_goes_first(cache: Cache) -> None:
    keys = [f"{k:02x}" * 32 for k in range(20)]
    for age, key in enumerate(keys):
        path = cache.save(key, {}, bytes(100_000))
        assert path is not None
        os.utime(path, (time.time() - 10 * FRESH + age,) * 2)
    assert cache.find(keys[0]) is not None  # used again: its time is now
    cache.evict()
    assert cache.info().bytes <= 0.8 * cache.limit
    left = {key for key in keys if cache.find(key) is not None}
    assert keys[0] in left and keys[1] not in left and keys[-1] in left


def test_writing_keeps_it_bounded(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 1 << 20)
    for k in range(60):
        cache.save(f"{k:02x}" * 32, {}, bytes(1 << 20))
    assert cache.info().bytes <= 18 << 20


def test_what_was_never_finished_goes(cache: Cache) -> None:
    path = cache.save(KEY, {}, b"x")
    assert path is not None
    old, new = path.with_name(f"{path.name}.1.0.tmp"), path.with_name(f"{path.name}.2.0.tmp")
    for unfinished in (old, new):
        unfinished.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * FRESH,) * 2)
    cache.evict()
    assert (old.exists(), new.exists(), path.exists()) == (False, True, True)


def test_a_process_killed_in_the_middle_leaves_nothing_wrong(cache: Cache) -> None:
    """It is killed again and again while it writes: every file under a key is whole."""
    program = (
        "import sys; from pathlib import Path; from rustorch.runtime.cache import Cache\n"
        f"cache = Cache(Path({str(cache.folder)!r}), 1 << 30); print('on', flush=True); k = 0\n"
        "while True:\n    cache.save('%064x' % (k % 7), {'k': k}, bytes(300_000 + k % 1000)); k += 1"
    )
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(0.15)
            writer.kill()
    paths = list(cache.folder.rglob("*.so"))
    assert paths
    assert all(unsealed(path.read_bytes()) is not None for path in paths)


def test_many_processes_write_at_the_same_time(cache: Cache) -> None:
    program = (
        "import sys; from pathlib import Path; from rustorch.runtime.cache import Cache\n"
        f"cache = Cache(Path({str(cache.folder)!r}), 1 << 20)\n"
        "for k in range(150):\n"
        "    key = '%02x' % (k % 9) * 32\n"
        "    cache.save(key, {'k': k % 9}, bytes(50_000))\n"
        "    found = cache.find(key)\n"
        "    assert found is None or found.facts == {'k': k % 9}\n"
        "    if k % 50 == 0: cache.evict()\n"
        "assert not cache.broken"
    )
    writers = [subprocess.Popen([sys.executable, "-W", "error", "-c", program]) for _ in range(4)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0, 0]
    for k in range(9):
        found = cache.find(f"{k:02x}" * 32)
        assert found is None or found.facts == {"k": k}


def test_packed_and_unpacked(cache: Cache, tmp_path: Path) -> None:
    cache.save(KEY, {"a": 1}, b"one")
    broken = cache.save(OTHER, {"a": 2}, b"two")
    assert broken is not None
    broken.write_bytes(b"broken")
    assert cache.pack(tmp_path / "packed.tar.gz") == 1
    other = Cache(tmp_path / "other", 1 << 20)
    assert other.unpack(tmp_path / "packed.tar.gz") == 1
    found = other.find(KEY)
    assert found is not None and found.facts == {"a": 1}


def test_what_is_no_packed_cache_is_refused(cache: Cache, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("text")
    with tarfile.open(tmp_path / "tar", "w:gz") as archive:
        archive.add(tmp_path / "text", "../../outside")
    for name in ("text", "tar", "missing"):
        with pytest.raises(ArgumentError, match="is no packed cache"):
            cache.unpack(tmp_path / name)
    assert cache.info().files == 0


def test_a_folder_that_others_may_write_into_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "cache", True)
    monkeypatch.setattr(config, "cache_dir", str(tmp_path))
    tmp_path.chmod(0o777)
    assert open_cache() is None
    tmp_path.chmod(0o755)
    assert open_cache() is not None
    monkeypatch.setattr(config, "cache_dir", "")
    assert open_cache() is None
    monkeypatch.setattr(config, "cache", False)
    monkeypatch.setattr(config, "cache_dir", str(tmp_path))
    assert open_cache() is None
