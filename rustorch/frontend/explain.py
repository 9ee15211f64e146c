"""What the recorder and `jit` did, and why: events, counted and kept for `rustorch.explain()`."""

from __future__ import annotations

import sys
import threading
import warnings
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rustorch.compiler import statistics
from rustorch.config import config
from rustorch.ir.location import Location

STREAK, SECONDS = 20, 1.0
"""So many closings of segments in a row at one line, each with a compilation, that take so long together, are told as a warning."""


@dataclass(frozen=True)
class Event:
    """Something that cost time: a compilation, with the line and the reason."""

    what: str
    where: str
    why: str


@dataclass
class Journal:
    """Counts since the import, and the last events."""

    recorded: int = 0
    """Operations that were new in their place, and so were inferred and built."""
    closed: Counter[str] = field(default_factory=Counter)
    """Closed segments by reason."""
    programs: int = 0
    """Programs made for closed segments."""
    stepwise: int = 0
    """Those of them that ran node by node when they were first seen."""
    traces: int = 0
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=64))
    changes: Counter[str] = field(default_factory=Counter)
    """What differed where a program left the ones known: operand or argument, by line."""


journal = Journal()
_lock = threading.Lock()
_streaks: dict[tuple[str, int], list[Any]] = {}


def note(what: str, where: Location, why: str, topic: str = "recompiles") -> None:
    """Keep an event, and write it to the log if its topic is asked for."""
    event = Event(what, where.short if where.line else "", why)
    with _lock:
        journal.events.append(event)
    if config.logs(topic):
        print(f"rustorch: {what}{' at ' + event.where if event.where else ''}: {why}", file=sys.stderr)


def note_new_edge(operation: str, where: Location, siblings: Mapping[tuple[Any, ...], Any], key: tuple[Any, ...]) -> None:
    """Count an operation that was new in its place, and what is different from the one of the same line that was seen there."""
    journal.recorded += 1
    for other, step in siblings.items():
        if other[0] is key[0] and len(other) == len(key) and (step.location.file, step.location.line) == (where.file, where.line):
            place = next(i for i in range(1, len(key)) if other[i] != key[i])
            was, found = (x[1] if isinstance(x, tuple) and len(x) > 1 and isinstance(x[0], type) else x for x in (other[place], key[place]))
            subject = f"{where.short}: argument {place} of {operation}"
            journal.changes[subject] += 1
            note("program left the known ones", where, f"{subject} was {was}, then {found}")
            return


def note_closed(why: str, where: Location, new: bool) -> None:
    """Count a closed segment; warn when one line goes on needing new programs."""
    journal.closed[why] += 1
    line = (where.file, where.line)
    if not new:
        _streaks.pop(line, None)
        return
    journal.programs += 1
    note("new program", where, f"a segment closed by {why}", "segments")
    began = _streaks.setdefault(line, [0, statistics.seconds])
    began[0] += 1
    if began[0] >= STREAK and statistics.seconds - began[1] >= SECONDS:
        _streaks[line] = [-(10**9), statistics.seconds]  # told once
        changing = next((what for what, _ in journal.changes.most_common() if what.startswith(f"{where.short}:")), "the program differs")
        warnings.warn(
            f"{where.short}: a new program was compiled {STREAK} times in a row here ({changing}); see rustorch.explain()", stacklevel=4
        )


class Explanation(str):
    """Text that prints as itself at a prompt."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def explain() -> Explanation:
    """What was recorded, what was compiled and why, and which operand keeps changing, since the import."""
    lines = [
        f"recorded: {journal.recorded} operations were new in their place; segments closed: "
        + (", ".join(f"{n} by {why}" for why, n in journal.closed.most_common()) or "none"),
        f"compiled: {statistics.compiles} graphs in {statistics.seconds:.2f} s ({journal.programs} programs of segments, "
        f"{journal.stepwise} of which ran node by node at first sight, {journal.traces} traces of functions); "
        f"{statistics.hits} found in the cache, {statistics.kernels} kernels",
    ]
    changes = [(what, n) for what, n in journal.changes.most_common(5) if n > 1]
    if changes:
        lines.append("what keeps changing:")
        lines += [f"  {n} times  {what}" for what, n in changes]
    if journal.events:
        lines.append("last events:")
        lines += [f"  {e.where:<20} {e.what}: {e.why}" for e in list(journal.events)[-8:]]
    return Explanation("\n".join(lines))
