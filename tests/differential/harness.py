"""One program, two libraries: it is run line by line in both, and after each line what they have is compared.

Programs are texts in which the library is called `torch`, and its functional module `F`. A line that fails must fail in both:
our exception is an instance of PyTorch's, and begins with the same words.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

import rustorch

WORDS = 5
"""So many words of a message must be the same."""
TOLERANCES = {"float64": (1e-9, 1e-12), "float32": (2e-4, 1e-5)}
"""Relative and absolute, by element type: both libraries round, in different orders."""


class Ours:
    """rustorch as `torch` in a program."""

    names: dict[str, Any] = {"torch": rustorch, "F": rustorch.functional, "np": np}  # noqa: RUF012 - stays as it is
    base = rustorch.Tensor


class Theirs:
    """PyTorch."""

    names: dict[str, Any] = {"torch": torch, "F": torch.nn.functional, "np": np}  # noqa: RUF012 - stays as it is
    base = torch.Tensor


class Failed:
    """What a line raised."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.words = str(error).split("\n")[0].split()[:WORDS]

    def __repr__(self) -> str:
        return f"{type(self.error).__name__}: {self.error}"


class Run:
    """A program under way in one library."""

    def __init__(self, library: type[Ours] | type[Theirs]) -> None:
        self.library = library
        self.names = dict(library.names)

    def line(self, text: str) -> Any:
        """Execute a statement, or a few; gives the value where it is an expression, or what it raised."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                tree = ast.parse(text)
                last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
                exec(compile(tree, "<program>", "exec"), self.names)
                if last is None:
                    return None
                return eval(compile(ast.Expression(last.value), "<program>", "eval"), self.names)  # type: ignore[attr-defined]
            except Exception as error:
                return Failed(error)


def described(x: Any, base: type) -> Any:
    """What is compared: flags and type of a tensor beside its elements; names of element types; containers by what they hold."""
    if isinstance(x, base):
        plain: Any = x.detach()
        return {
            "dtype": name_of(plain.dtype),
            "requires_grad": x.requires_grad,
            "is_leaf": x.is_leaf,
            "elements": plain.numpy().copy(),
        }
    if isinstance(x, (tuple, list)):
        return [described(e, base) for e in x]
    if isinstance(x, dict):
        return {k: described(v, base) for k, v in x.items()}
    if isinstance(x, (torch.dtype, type(rustorch.float32))):
        return name_of(x)
    return x


def name_of(dtype: Any) -> str:
    """An element type's name, such as float64."""
    return str(getattr(dtype, "name", dtype)).split(".")[-1]


def difference(ours: Any, theirs: Any) -> str:
    """What differs, in words; nothing where nothing does."""
    if isinstance(ours, Failed) or isinstance(theirs, Failed):
        if not (isinstance(ours, Failed) and isinstance(theirs, Failed)):
            return f"rustorch: {ours!r:.300}\nPyTorch:  {theirs!r:.300}"
        if not isinstance(ours.error, type(theirs.error)):
            return f"{ours!r:.300} is no {theirs!r:.300}"
        return "" if ours.words == theirs.words else f"{ours!r:.300} has other words than {theirs!r:.300}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # looking at so many new programs is noticed
        return _difference(described(ours, Ours.base), described(theirs, Theirs.base))


def _difference(a: Any, b: Any) -> str:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        if a.shape != b.shape:
            return f"shapes {a.shape} and {b.shape}"
        rtol, atol = TOLERANCES.get(a.dtype.name, (0.0, 0.0))
        scale = np.abs(b[np.isfinite(b)]).max(initial=0.0) if b.dtype.kind == "f" else 0.0
        same = np.allclose(a, b, rtol=rtol, atol=atol * max(scale, 1.0), equal_nan=True) if a.dtype.kind == "f" else np.array_equal(a, b)
        return "" if same else f"elements\n{a}\nand\n{b}"
    if isinstance(a, dict) and isinstance(b, dict):
        if list(a) != list(b):
            return f"names {list(a)} and {list(b)}"
        return next((f"{k}: {d}" for k in a if (d := _difference(a[k], b[k]))), "")
    if isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            return f"{len(a)} and {len(b)} of them"
        return next((f"[{i}]: {d}" for i, (x, y) in enumerate(zip(a, b, strict=True)) if (d := _difference(x, y))), "")
    if isinstance(a, float) and isinstance(b, float):
        return _difference(np.asarray(a), np.asarray(b)) if a != b else ""
    return "" if type(a) is type(b) and a == b else f"{a!r} and {b!r}"


SPOILED = "one of the variables needed for gradient computation has been modified by an inplace operation"
"""What PyTorch says where rustorch has the gradient nevertheless."""


def compare(lines: Sequence[str]) -> bool:
    """Run a program in both libraries, and compare after each line: its value, and the variable that it sets or writes to.

    Gives whether it was run to its end: not where PyTorch has no gradient since a value was written over.
    """
    ours, theirs = Run(Ours), Run(Theirs)
    for number, line in enumerate(lines):
        found = ours.line(line), theirs.line(line)
        if isinstance(found[1], Failed) and str(found[1].error).startswith(SPOILED):
            assert not isinstance(found[0], Failed), "\n".join([*lines[: number + 1], f"# failed: {found[0]}"])
            return False
        wrong = difference(*found)
        name = line.split(" = ")[0].split("[")[0].split(".")[0]
        if not wrong and not isinstance(found[0], Failed) and name in ours.names and not name.startswith("_"):
            wrong = difference(ours.names[name], theirs.names[name])
            wrong = wrong and f"{name}: {wrong}"
        assert not wrong, "\n".join([*lines[: number + 1], f"# differs: {wrong}"])
    return True
