"""The rooms of the house: who may import whom. There is no list of exceptions.

`ROOMS` is the table of docs/architecture.md as data. A room is a folder or a module directly inside `rustorch/`; a row may
also name one file of a room: that row then replaces the room's, and the file sees the rest of its room only where it says so.
A row lists the rooms that may be imported (a single file of a room is written `room.file`) and, behind them, what may be
imported from outside the standard library. `errors`, `config` and `version` are open to everybody. `PUBLIC` is what
`rustorch/__init__.py` re-exports, with the doors beside it.

Between two rooms an import stands at the top of the file: none inside a function, none under `TYPE_CHECKING`, none by name
at run time. Packages that are slow or optional to import are the opposite: they are imported in the function that needs them.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "rustorch"
OPEN = {"errors", "config", "version"}
DOORS = {"autograd", "debug", "func", "functional", "linalg", "nn", "optim", "special", "testing", "utils"}
PUBLIC = {"rustorch"} | DOORS


@dataclass(frozen=True)
class Row:
    """What a room may import: own rooms, and packages from outside (ctypes counts as one: it is the way to native code)."""

    rooms: frozenset[str]
    packages: frozenset[str]


def row(rooms: str = "", packages: str = "") -> Row:
    return Row(frozenset(rooms.split()), frozenset(packages.split()))


ROOMS = {
    # L0: what everybody may know
    "version": row(),
    "errors": row(),
    "config": row(),
    # L1: the language, and the record that passes from codegen to runtime
    "artifact": row(),
    "ir": row("", "numpy"),
    # L2: the vocabulary
    "ops": row("ir", "numpy"),
    # L3: Graph -> Graph; neither knows the other
    "autodiff": row("ir ops"),
    "passes": row("ir ops", "numpy"),
    # L4: Graph -> Artifact -> running code; only data passes between the two
    "codegen": row("ir ops artifact", "numpy"),
    "codegen/assemble": row("codegen ir ops artifact", "numpy llvmlite"),
    "runtime": row("artifact", "numpy ctypes"),
    "runtime/loader": row("runtime artifact", "numpy ctypes llvmlite"),
    # L5: the table of passes
    "compiler": row("passes codegen runtime ir ops artifact", "numpy"),
    # L6: the two doors, and the compositions, which see only the frontend's emit API
    "frontend": row("compiler autodiff ops ir runtime artifact", "numpy"),
    "functional": row("ops ir frontend.emit", "numpy"),
    # L7: public names only, like any user's program
    "nn": row("rustorch functional autograd", "numpy"),
    "optim": row("rustorch functional autograd", "numpy"),
    "autograd": row("rustorch functional frontend autodiff", "numpy"),
    "func": row("rustorch functional frontend autodiff", "numpy"),
    "debug": row("frontend"),
    "special": row("rustorch functional frontend", "numpy"),
    "linalg": row("rustorch functional frontend autodiff", "numpy"),
    "utils": row("rustorch functional frontend autodiff autograd", "numpy"),
    "testing": row("rustorch functional frontend autodiff autograd func", "numpy"),
    # L7: export and inspection; what reads an exported package needs no compiler
    "aot": row("frontend autodiff compiler artifact runtime ir", "numpy ctypes"),
    "aot/load": row("artifact aot.package aot.sizes", "numpy ctypes"),
    "aot/package": row("artifact aot.sizes", "numpy ctypes"),
    "aot/sizes": row(),
    "inspection": row("ir ops codegen compiler frontend artifact", "numpy"),
    "inspection/graphs": row("inspection ir ops codegen compiler frontend artifact", "networkx"),
    # L8: everything, through the names users have
    "cli": row("rustorch aot inspection codegen runtime ir nn optim functional testing", "numpy sklearn rich"),
}
ROOMS["rustorch"] = row(" ".join(set(ROOMS) - {"cli"}))  # the names that users see: re-exports

IN_FUNCTIONS_ONLY = {"llvmlite", "networkx", "sklearn", "rich"}
"""Slow or optional to import."""

USERS = {"llvmlite": {"codegen/assemble", "runtime/loader"}, "networkx": {"inspection/graphs"}}
"""The only files that import these packages."""


@dataclass(frozen=True)
class Import:
    """One imported name: the file and line, the dotted module, and whether it stands at the top of the file."""

    file: Path
    line: int
    module: str
    top: bool

    @property
    def place(self) -> str:
        return f"{self.file.relative_to(ROOT.parent)}:{self.line}"

    @property
    def name(self) -> str:
        """The file as the table writes it: `codegen/assemble`."""
        return self.file.relative_to(ROOT).with_suffix("").as_posix()

    @property
    def room(self) -> str:
        """The room of the file."""
        return "rustorch" if self.name == "__init__" else self.name.split("/")[0]

    @property
    def row(self) -> Row:
        """The file's own row, else its room's."""
        return ROOMS[self.name if self.name in ROOMS else self.room]

    @property
    def package(self) -> str:
        return self.module.split(".")[0]

    @property
    def target(self) -> str:
        """The room that is imported; `rustorch` where it is a public name."""
        parts = self.module.split(".")
        return parts[1] if len(parts) > 1 and exists(parts[1]) else "rustorch"

    def allowed(self) -> bool:
        """Whether the file's row has this import."""
        if self.package != "rustorch":
            listed = self.package in sys.stdlib_module_names and self.package != "ctypes"
            return listed or self.package in self.row.packages
        own_file = ".".join(self.module.split(".")[1:3])
        if self.target in self.row.rooms or own_file in self.row.rooms or self.target in OPEN:
            return True
        return self.target == self.room and self.name not in ROOMS  # a file with its own row sees its room only if that says so


def exists(module: str) -> bool:
    return (ROOT / module).is_dir() or (ROOT / f"{module}.py").is_file()


def imports(file: Path) -> Iterator[Import]:
    """Every import of a file; `from a import b` counts as `a.b`."""
    tree = ast.parse(file.read_text(encoding="utf-8"), str(file))
    top = set(map(id, tree.body))
    own = ("rustorch", *file.relative_to(ROOT).parent.parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(file, node.lineno, alias.name, id(node) in top)
        elif isinstance(node, ast.ImportFrom):
            base = [*own[: len(own) - node.level + 1]] if node.level else []
            for alias in node.names:
                yield Import(file, node.lineno, ".".join([*base, *filter(None, [node.module]), alias.name]), id(node) in top)


FILES = sorted(ROOT.rglob("*.py"))
IMPORTS = [found for file in FILES for found in imports(file)]


def test_every_room_has_a_row() -> None:
    rooms = {path.stem for path in ROOT.iterdir() if path.is_dir() or path.suffix == ".py"} - {"__init__", "__pycache__"}
    assert rooms <= ROOMS.keys(), f"no row in ROOMS for {sorted(rooms - ROOMS.keys())}"


def test_the_table_has_no_cycle() -> None:
    """Below the public names each room stands on lower rooms only (a file's own row belongs to its room)."""
    graph: dict[str, set[str]] = {}
    for name, entry in ROOMS.items():
        room = name.split("/")[0]
        graph.setdefault(room, set()).update({other.split(".")[0] for other in entry.rooms} - PUBLIC - {room})
    del graph["rustorch"]
    order = list(TopologicalSorter(graph).static_order())
    assert order.index("ir") < order.index("ops") < order.index("codegen") < order.index("compiler") < order.index("frontend")


def test_imports_stay_within_the_table() -> None:
    found = [f"{one.place}: {one.room} imports {one.module}" for one in IMPORTS if not one.allowed()]
    assert found == []


def test_rooms_import_each_other_at_the_top() -> None:
    late = [one for one in IMPORTS if one.package == "rustorch" and not one.top and one.target != one.room]
    assert [f"{one.place}: late import of {one.module}" for one in late] == []


def test_no_import_that_the_walk_cannot_see() -> None:
    """No `TYPE_CHECKING`, and no import of an own room by its name at run time."""
    found = []
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
            if name in {"TYPE_CHECKING", "__import__"}:
                found.append(f"{file.relative_to(ROOT.parent)}:{node.lineno}: {name}")
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and "rustorch" in ast.unparse(node):
                found.append(f"{file.relative_to(ROOT.parent)}:{node.lineno}: {ast.unparse(node)}")
    assert found == []


def test_slow_packages_are_imported_where_they_are_needed() -> None:
    found = [f"{one.place}: {one.module} at the top" for one in IMPORTS if one.top and one.package in IN_FUNCTIONS_ONLY]
    assert found == []


@pytest.mark.parametrize("package", USERS)
def test_a_package_has_its_users_and_no_others(package: str) -> None:
    files = {one.name for one in IMPORTS if one.package == package}
    assert files - USERS[package] == set()


def test_the_front_page_only_re_exports() -> None:
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    kinds = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.Expr)
    assert [ast.unparse(node) for node in tree.body if not isinstance(node, kinds)] == []


@pytest.mark.parametrize(
    ("file", "source", "verdict"),
    [
        ("ir/graph.py", "import rustorch.ops.family", False),
        ("ir/graph.py", "from .types import Type", True),
        ("ops/movement.py", "from rustorch.ir import graph", True),
        ("ops/movement.py", "from ..codegen import target", False),
        ("ops/movement.py", "from rustorch import frontend", False),
        ("runtime/loader.py", "from rustorch.codegen import target", False),
        ("functional/loss.py", "from rustorch.frontend.emit import emit", True),
        ("functional/loss.py", "from rustorch.frontend.recorder import Recorder", False),
        ("nn/module.py", "from rustorch import Tensor", True),
        ("nn/module.py", "from rustorch.ir.graph import Graph", False),
        ("aot/load.py", "from rustorch.aot.package import read", True),
        ("aot/load.py", "from rustorch.aot.exporter import export", False),
        ("aot/exporter.py", "import ctypes", True),
        ("passes/fold.py", "import ctypes", False),
        ("codegen/fuse.py", "import llvmlite.binding", False),
    ],
)
def test_the_walk_itself(file: str, source: str, verdict: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: source)
    assert [one.allowed() for one in imports(ROOT / file)] == [verdict]
