"""Packages on disk: what was saved comes back, and what is damaged is refused with its reason."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rustorch.aot.load import load
from rustorch.aot.package import MANIFEST, PackageError, _digest, read, save
from rustorch.errors import ArgumentError, Unsupported

FILES = ["demo.h", "demo.ir", "demo.o", "libdemo.so", "manifest.json"]


@pytest.fixture(params=["demo", "demo.rta"])
def place(request: pytest.FixtureRequest, demo: Any, tmp_path: Path) -> Path:
    saved: Path = demo.save(tmp_path / request.param)
    return saved


@pytest.fixture
def folder(demo: Any, tmp_path: Path) -> Path:
    saved: Path = demo.save(tmp_path / "demo")
    return saved


def edit(folder: Path, change: Callable[[dict[str, Any]], None], *, sealed: bool = True) -> None:
    """Change the manifest; `sealed` writes its checksum anew."""
    fields = json.loads((folder / MANIFEST).read_text())
    change(fields)
    if sealed:
        del fields["sha256"]
        fields["sha256"] = _digest(fields)
    (folder / MANIFEST).write_text(json.dumps(fields))


def test_what_was_saved_comes_back(place: Path, demo: Any) -> None:
    package = read(place)
    assert package.manifest.functions == demo.functions
    assert (package.manifest.name, package.manifest.level) == ("demo", "v2")
    assert package.manifest.producer.keys() == {"rustorch", "llvmlite"}
    assert package.content("libdemo.so") == demo.library
    assert package.content("demo.o") == demo.object
    assert package.content("demo.h").decode() == demo.header


def test_a_folder_holds_the_files_and_nothing_else(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert (folder / "libdemo.so").stat().st_mode & 0o111


def test_an_archive_is_one_file(demo: Any, tmp_path: Path) -> None:
    demo.save(tmp_path / "deep" / "demo.rta")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["demo.rta"]
    assert sorted(zipfile.ZipFile(tmp_path / "deep" / "demo.rta").namelist()) == FILES


def test_equal_packages_are_equal_bytes(demo: Any, tmp_path: Path) -> None:
    first, second = (demo.save(tmp_path / name).read_bytes() for name in ("a.rta", "b.rta"))
    assert first == second
    assert (demo.save(tmp_path / "a") / MANIFEST).read_bytes() == (demo.save(tmp_path / "b") / MANIFEST).read_bytes()


def test_saving_again_replaces_every_file(folder: Path, demo: Any) -> None:
    (folder / "mine.txt").write_text("stays")
    demo.save(folder, graph="func @other() {\n}\n")
    assert load(folder).graph == "func @other() {\n}\n"
    assert sorted(path.name for path in folder.iterdir()) == sorted([*FILES, "mine.txt"])


def test_an_interrupted_save_is_noticed(folder: Path, demo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The manifest is written last: with the new library and the old manifest, the package is refused."""
    replace_file = os.replace

    def replace_all_but_the_manifest(source: str, target: Path) -> None:
        if target.name == MANIFEST:
            raise OSError("the disk is full")
        replace_file(source, target)

    monkeypatch.setattr(os, "replace", replace_all_but_the_manifest)
    with pytest.raises(OSError, match="the disk is full"):
        demo.save(folder, graph="func @other() {\n}\n")
    assert sorted(path.name for path in folder.iterdir()) == FILES
    with pytest.raises(PackageError, match=r"demo\.ir is (cut off|not the file that was saved)"):
        read(folder).content("demo.ir")


@pytest.mark.parametrize("file", ["libdemo.so", MANIFEST])
def test_a_missing_file_is_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(PackageError, match=f"demo: {file} is missing"):
        load(folder)


def test_only_library_and_manifest_are_needed_to_call(folder: Path) -> None:
    for file in ("demo.h", "demo.ir", "demo.o"):
        (folder / file).unlink()
    library = load(folder)
    assert library.quad(np.ones(3), 2.0)[0] == 6.0
    with pytest.raises(PackageError, match=r"demo\.h is missing"):
        library.header


def test_there_is_no_such_package(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="there is no such file or folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(OSError, match="there is no such file or folder"):
        load(tmp_path / "nowhere.rta")
    with pytest.raises(PackageError, match=r"manifest\.json is missing"):
        load(tmp_path)


def test_a_library_that_was_cut_off(folder: Path, demo: Any) -> None:
    (folder / "libdemo.so").write_bytes(demo.library[:5000])
    with pytest.raises(PackageError, match=rf"libdemo\.so is cut off after 5000 of {len(demo.library)} bytes"):
        load(folder)


@pytest.mark.parametrize("at", [0, 0x1004, -1])
def test_a_library_with_one_flipped_bit(folder: Path, demo: Any, at: int) -> None:
    content = bytearray(demo.library)
    content[at] ^= 1
    (folder / "libdemo.so").write_bytes(content)
    with pytest.raises(PackageError, match=r"libdemo\.so is not the file that was saved"):
        load(folder)


@pytest.mark.parametrize("keep", [0, 10, 300, -30])
def test_an_archive_that_was_cut_off(demo: Any, tmp_path: Path, keep: int) -> None:
    path = demo.save(tmp_path / "demo.rta")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(PackageError, match="cannot be read"):
        load(path)


def test_an_archive_with_damage_in_the_middle(demo: Any, tmp_path: Path) -> None:
    path = demo.save(tmp_path / "demo.rta")
    content = bytearray(path.read_bytes())
    for at in range(60, 120):  # inside the deflated library
        content[at] ^= 0x55
    path.write_bytes(content)
    with pytest.raises(PackageError, match=r"libdemo\.so cannot be read"):
        load(path)


def test_no_flipped_bit_of_an_archive_goes_unnoticed(demo: Any, tmp_path: Path) -> None:
    """Refused, or of no consequence (a date of the archive, say): never another library, never another exception."""
    path = demo.save(tmp_path / "demo.rta")
    content = path.read_bytes()
    for at in range(0, len(content), 7):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :])
        try:
            package = read(path)
            assert (package.content("libdemo.so"), package.manifest.functions) == (demo.library, demo.functions)
        except PackageError:
            pass


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"schema": 1}', "\xff\xfe"])
def test_a_manifest_that_is_none(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_bytes(text.encode("latin1"))
    with pytest.raises(PackageError, match=r"manifest\.json is not the manifest of a package"):
        load(folder)


def test_a_manifest_that_was_edited(folder: Path) -> None:
    edit(folder, lambda fields: fields["functions"][0]["inputs"][0].update(shape=[2]), sealed=False)
    with pytest.raises(PackageError, match=r"manifest\.json was changed after it was saved"):
        load(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields.pop("level"),
        lambda fields: fields.update(surprise=1),
        lambda fields: fields.update(functions=3),
        lambda fields: fields["functions"][0].pop("symbol"),
        lambda fields: fields["functions"][0]["inputs"][0].pop("dtype"),
        lambda fields: fields["files"].update({"demo.h": 3}),
    ],
)
def test_a_manifest_with_wrong_fields(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    edit(folder, change)
    with pytest.raises(PackageError, match="lacks a field or has a wrong one"):
        load(folder)


@pytest.mark.parametrize("field", ["schema", "abi"])
def test_another_version_is_refused(folder: Path, field: str) -> None:
    edit(folder, lambda fields: fields.update({field: 2}))
    with pytest.raises(Unsupported, match=r"(?s)written with manifest schema \d, ABI \d.*Load it with the version that wrote it"):
        load(folder)


def test_a_manifest_that_lists_a_function_too_many(folder: Path) -> None:
    edit(folder, lambda fields: fields["functions"][0].update(symbol="demo_cube"))
    with pytest.raises(PackageError, match="no function demo_cube"):
        load(folder)


def test_bytes_that_are_no_library(demo: Any, tmp_path: Path) -> None:
    parts: dict[str, Any] = {"object": demo.object, "header": demo.header, "graph": "", "functions": demo.functions, "level": "v2"}
    save(tmp_path, "demo", library=b"not a library", **parts)
    with pytest.raises(PackageError, match=r"libdemo\.so cannot be opened as a shared library"):
        load(tmp_path)


def test_names_must_be_c_names(demo: Any, tmp_path: Path) -> None:
    parts: dict[str, Any] = {"library": b"", "object": b"", "header": "", "graph": "", "level": "v2"}
    for name in ("my-model", "../up", "1st", "é", ""):
        with pytest.raises(ArgumentError, match="must be a C identifier"):
            save(tmp_path / "x", name, functions=(), **parts)
    assert not (tmp_path / "x").exists()


def test_arguments_must_have_names_of_their_own(demo: Any, tmp_path: Path) -> None:
    quad = demo.functions[0]
    twice = replace(quad, inputs=(quad.inputs[0], quad.inputs[0]))
    with pytest.raises(ArgumentError, match="two arguments of quad have one name: x, x"):
        replace(demo, functions=(twice,)).save(tmp_path / "twice")


def test_a_file_is_no_folder(demo: Any, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(ArgumentError, match=r"name a folder, or a file that ends in \.rta"):
        demo.save(tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "mine"
