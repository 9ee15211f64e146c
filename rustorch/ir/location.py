"""Where in the user's program a node comes from."""

from __future__ import annotations

import linecache
import os
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import CodeType

_PACKAGE = str(Path(__file__).resolve().parent.parent) + "/"


@dataclass(frozen=True)
class Location:
    """File, line, column (1-based; 0 when unknown) and function of the user's code."""

    file: str
    line: int
    column: int
    function: str

    @property
    def short(self) -> str:
        """`file:line` with the file's last part: `demo.py:3`, or `<string>:1` for code without a file."""
        return f"{Path(self.file).name if not self.file.startswith('<') else self.file}:{self.line}"

    @property
    def code(self) -> str:
        """The source line, stripped; empty when the source is not to be had."""
        return linecache.getline(self.file, self.line).strip()

    def __str__(self) -> str:
        code = self.code
        return f"{self.file}:{self.line}:  {code}" if code else f"{self.file}:{self.line}"


UNKNOWN = Location("<unknown>", 0, 0, "")


_OURS = tuple(f"{_PACKAGE}{room.name}{'/' if room.is_dir() else ''}" for room in os.scandir(_PACKAGE) if room.name != "cli")
"""Where our own frames are; the console script is a user of the library, as others are."""


@lru_cache(maxsize=4096)
def _location(code: CodeType, line: int, instruction: int) -> Location:
    column = 0
    for index, (_, _, start, _) in enumerate(code.co_positions()):
        if index == instruction // 2:
            column = (start or 0) + 1
            break
    return Location(code.co_filename, line, column, code.co_qualname)


def user_location() -> Location:
    """The innermost frame that is not ours: the user's line."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename.startswith(_OURS) and frame.f_back is not None:
        frame = frame.f_back
    return _location(frame.f_code, frame.f_lineno, frame.f_lasti)
