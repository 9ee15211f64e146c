"""LLVM text to object bytes. With runtime/loader.py the only user of llvmlite's binding, which it imports on first use."""

from __future__ import annotations

import functools
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from rustorch.codegen.target import Target
from rustorch.errors import CompilerBug, compose

TRIPLE = "x86_64-unknown-linux-gnu"


def assemble(text: str, target: Target, *, quick: bool = False) -> bytes:
    """The relocatable, position independent ELF object of a module; `CompilerBug` where LLVM refuses the text.

    `quick` emits plainer code eight times sooner: for entries, which spend their time in the functions that they call.
    """
    with _uninterrupted(), _parsed(text) as module:
        return bytes(_machine(target, quick).emit_object(module))


def assembly(text: str, target: Target) -> str:
    """The assembly text of a module; `CompilerBug` where LLVM refuses the text."""
    with _uninterrupted(), _parsed(text) as module:
        return str(_machine(target, False).emit_assembly(module))


@functools.cache
def _machine(target: Target, quick: bool) -> Any:
    """LLVM's code generator for a target. Code levels 1 to 3 give the same code; 0 makes kernels ten times slower."""
    import llvmlite.binding as llvm

    with suppress(RuntimeError):  # newer versions need no initialisation of the core, and say so
        llvm.initialize()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    found = llvm.Target.from_triple(TRIPLE)
    return found.create_target_machine(cpu=target.cpu, features=target.features, opt=0 if quick else 2, reloc="pic", codemodel="default")


def llvm_version() -> str:
    """The version of LLVM inside llvmlite."""
    import llvmlite.binding as llvm

    return ".".join(map(str, llvm.llvm_version_info))


@contextmanager
def _parsed(text: str) -> Iterator[Any]:
    """The verified module of a text, in an LLVM context of its own: what a compile allocates goes with it."""
    import llvmlite.binding as llvm

    with llvm.create_context() as context:
        try:
            module = llvm.parse_assembly(text, context)
        except RuntimeError as error:
            raise CompilerBug(_refusal(text, str(error))) from None
        with module:
            try:
                module.verify()
            except RuntimeError as error:
                raise CompilerBug(_refusal(text, str(error))) from None
            yield module


def _refusal(text: str, message: str) -> str:
    """The message of a text that LLVM refused, with the offending line and three lines around it."""
    lines = text.splitlines()
    line = _offending_line(lines, message)
    if line is None:
        return compose("LLVM refused the emitted module", *message.strip().splitlines())
    around = range(max(line - 3, 0), min(line + 4, len(lines)))
    excerpt = (f"{'>' if k == line else ' '} {k + 1:5d} | {lines[k]}" for k in around)
    return compose("LLVM refused the emitted module", *message.strip().splitlines(), *excerpt)


def _offending_line(lines: list[str], message: str) -> int | None:
    """The parser names the line; the verifier quotes the instruction, or names the function or block."""
    if found := re.search(r"<string>:(\d+):\d+: error", message):
        return min(int(found[1]), len(lines)) - 1
    for quoted in re.findall(r"[%@][\w.$-]+ =|[@%][\w.$-]+", message):
        for number, line in enumerate(lines):
            if quoted in line:
                return number
    return None


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Holds Ctrl-C back until the compile is over, so that it never lands between two steps of the binding.

    Only the main thread receives signals; a handler that Python did not install is left alone.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    arrived: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: arrived.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if arrived:
            handler(*arrived[0])
