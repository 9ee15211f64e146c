"""Where in the user's program a node comes from."""

from __future__ import annotations

import linecache
import sys
from dataclasses import dataclass
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


def _column(code: CodeType, instruction: int) -> int:
    for index, (_, _, start, _) in enumerate(code.co_positions()):
        if index == instruction // 2:
            return (start or 0) + 1
    return 0


def user_location() -> Location:
    """The innermost frame that is not ours: the user's line."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE) and frame.f_back is not None:
        frame = frame.f_back
    code = frame.f_code
    return Location(code.co_filename, frame.f_lineno, _column(code, frame.f_lasti), code.co_qualname)
