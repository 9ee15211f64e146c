"""A package on disk: the library, the object, the header, the graph, and a manifest that says everything a loader needs.

A package named `rosen` is a folder, or one `.rta` file (a zip archive of the same files):

    librosen.so    rosen.o    rosen.h    rosen.ir    manifest.json

The manifest holds size and sha256 of every file and of itself, so that a damaged package is refused before any of its code
runs. The same content gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rustorch.artifact import ArgSpec
from rustorch.errors import ArgumentError, Unsupported, UserError, compose
from rustorch.version import VERSION

# zipfile, tempfile and importlib.metadata are imported where they are used: they take longer to import than all of this room.

SCHEMA = 1
"""Version of the manifest's form."""
ABI = 1
"""Version of the C signatures."""
RT_OK, RT_E_SHAPE, RT_E_WORKSPACE, RT_E_ISA, RT_E_NONFINITE, RT_E_CHECK = range(6)
"""What a C function returns; `RT_E_CHECK + k` is the failure of its check number k."""
WORK_ALIGN = 64
"""Alignment of a workspace in bytes."""
MANIFEST = "manifest.json"
SUFFIX = ".rta"


class PackageError(UserError, OSError):
    """Files that are not a package, or not the whole of one."""


@dataclass(frozen=True)
class ExportedFunction:
    """One compiled function: its name in Python (`value_and_grad`) and in C (`rosen_value_and_grad`), and its signature.

    `dims` are the symbolic dimensions in the order of the C arguments; sizes and `work_bytes` are ints or text over them.
    """

    name: str
    symbol: str
    kind: str
    dims: tuple[str, ...]
    inputs: tuple[ArgSpec, ...]
    outputs: tuple[ArgSpec, ...]
    work_bytes: int | str = 0
    doc: str = ""
    checks: tuple[str, ...] = ()
    """Message of check number k (the C function returns `RT_E_CHECK + k`)."""
    least: int = 0
    """Smallest value of a dimension."""


@dataclass(frozen=True)
class FileRecord:
    """Size and sha256 of a file."""

    size: int
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> FileRecord:
        """The record of this content."""
        return cls(len(content), hashlib.sha256(content).hexdigest())


@dataclass(frozen=True)
class Manifest:
    """What a package says about itself."""

    name: str
    level: str
    functions: tuple[ExportedFunction, ...]
    graph_sha256: str
    files: Mapping[str, FileRecord]
    producer: Mapping[str, str]
    abi: int = ABI
    schema: int = SCHEMA

    @property
    def library(self) -> str:
        """File name of the shared library."""
        return f"lib{self.name}.so"

    def to_json(self) -> str:
        """The manifest as text, with the sha256 of the rest in its last field."""
        fields = asdict(self)
        return json.dumps({**fields, "sha256": _digest(fields)}, indent=1) + "\n"


def manifest(name: str, level: str, functions: Sequence[ExportedFunction], graph: str, files: Mapping[str, bytes]) -> Manifest:
    """The manifest of a package with this content; `graph` is the text of its graph."""
    for word in (name, *(function.symbol for function in functions)):
        if not (word.isascii() and word.isidentifier()):
            raise ArgumentError(f"package {name!r}: {word!r} names files or C functions, so it must be a C identifier")
    for function in functions:
        names = [one.name for one in function.inputs]
        if len(set(names)) != len(names):
            raise ArgumentError(f"package {name!r}: two arguments of {function.name} have one name: {', '.join(names)}")
    records = {file: FileRecord.of(content) for file, content in files.items()}
    return Manifest(name, level, tuple(functions), hashlib.sha256(graph.encode()).hexdigest(), records, _producer())


def save(
    path: str | os.PathLike[str],
    name: str,
    *,
    library: bytes,
    object: bytes,
    header: str,
    graph: str,
    functions: Sequence[ExportedFunction],
    level: str,
) -> Path:
    """Write the package into the folder `path`, or into one file where `path` ends in `.rta`; where it was written.

    Each file is replaced in one step, the manifest last: who reads an unfinished package is told so.
    """
    files = {f"lib{name}.so": library, f"{name}.o": object, f"{name}.h": header.encode(), f"{name}.ir": graph.encode()}
    files[MANIFEST] = manifest(name, level, functions, graph, files).to_json().encode()
    place = Path(path)
    if place.suffix == SUFFIX:
        place.parent.mkdir(parents=True, exist_ok=True)
        _replace(place, _archive(files))
        return place
    if place.exists() and not place.is_dir():
        raise ArgumentError(f"save: {place} is a file; name a folder, or a file that ends in {SUFFIX}")
    place.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        _replace(place / file, content)
    return place


@dataclass(frozen=True)
class Package:
    """A package that can be read: `content` gives the files that its manifest lists."""

    path: Path
    manifest: Manifest

    def content(self, file: str) -> bytes:
        """The bytes of a file, compared with the manifest."""
        record = self.manifest.files.get(file)
        if record is None:
            raise PackageError(f"package {self.path}: its manifest lists no file {file}")
        content = _read(self.path, file)
        if len(content) < record.size:
            raise PackageError(f"package {self.path}: {file} is cut off after {len(content)} of {record.size} bytes")
        if FileRecord.of(content) != record:
            raise PackageError(
                compose(
                    f"package {self.path}: {file} is not the file that was saved",
                    f"sha256 found: {FileRecord.of(content).sha256}",
                    f"sha256 saved: {record.sha256}",
                    todo="Export it again, or copy it again.",
                )
            )
        return content


def read(path: str | os.PathLike[str]) -> Package:
    """The package in a folder, in an `.rta` file, or beside a `manifest.json`. Raises `PackageError` where it is not whole."""
    place = Path(path)
    if place.name == MANIFEST:
        place = place.parent
    if not place.exists():
        raise PackageError(f"package {place}: there is no such file or folder")
    content = _read(place, MANIFEST)
    try:
        fields = json.loads(content)
        schema, abi = fields["schema"], fields["abi"]
    except (ValueError, TypeError, KeyError) as error:
        raise PackageError(f"package {place}: {MANIFEST} is not the manifest of a package ({error})") from error
    if schema != SCHEMA or abi != ABI:
        raise Unsupported(
            compose(
                f"package {place}: written with manifest schema {schema}, ABI {abi}",
                f"rustorch {VERSION} reads schema {SCHEMA}, ABI {ABI}",
                todo="Load it with the version that wrote it, or export it again.",
            )
        )
    if fields.pop("sha256", None) != _digest(fields):
        raise PackageError(f"package {place}: {MANIFEST} was changed after it was saved")
    try:
        return Package(place, _manifest(fields))
    except (KeyError, TypeError, AttributeError) as error:
        raise PackageError(f"package {place}: {MANIFEST} lacks a field or has a wrong one ({error})") from error


def _manifest(fields: Any) -> Manifest:
    functions = tuple(_function(one) for one in fields.pop("functions"))
    files = {file: FileRecord(**record) for file, record in fields.pop("files").items()}
    return Manifest(functions=functions, files=files, **fields)


def _function(fields: Any) -> ExportedFunction:
    arguments = {side: tuple(ArgSpec(one["name"], one["dtype"], tuple(one["shape"])) for one in fields.pop(side)) for side in _SIDES}
    return ExportedFunction(**{**fields, **arguments, "dims": tuple(fields["dims"]), "checks": tuple(fields["checks"])})


_SIDES = ("inputs", "outputs")


def _digest(fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def _producer() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    try:
        llvmlite = version("llvmlite")
    except PackageNotFoundError:
        llvmlite = "none"
    return {"rustorch": VERSION, "llvmlite": llvmlite}


def _read(place: Path, file: str) -> bytes:
    import zipfile
    import zlib

    try:
        if place.is_dir():
            return (place / file).read_bytes()
        with zipfile.ZipFile(place) as archive:
            return archive.read(file)
    except (FileNotFoundError, KeyError) as error:
        raise PackageError(f"package {place}: {file} is missing") from error
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        # All but OSError: what zipfile raises for damaged archives, by where the damage lies.
        raise PackageError(f"package {place}: {file} cannot be read ({error})") from error


def _archive(files: Mapping[str, bytes]) -> bytes:
    """A zip archive of the files. Its dates are the format's first day, so that equal content gives equal bytes."""
    import zipfile

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def _replace(place: Path, content: bytes) -> None:
    """Write a file in one step: readers see the old content or the new, never a part."""
    import tempfile

    with tempfile.NamedTemporaryFile(dir=place.parent, prefix=f".{place.name}.", delete=False) as file:
        file.write(content)
    try:
        os.chmod(file.name, 0o755 if place.suffix == ".so" else 0o644)
        os.replace(file.name, place)
    except OSError:
        os.unlink(file.name)
        raise
