"""Small hand-written graphs in LLVM, a Tensor class of slots, and the way from their text to a Python builtin."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rustorch.artifact import ArgSpec, Artifact, EntryPlan, Result, Signature, Source, TensorSlots
from rustorch.codegen.assemble import assemble
from rustorch.codegen.emit_entry import emit_entry
from rustorch.codegen.target import target
from rustorch.runtime import layout
from rustorch.runtime.entry import Epoch, make_entry
from rustorch.runtime.executable import Executable
from rustorch.runtime.loader import Loaded, load

TARGET = target("v2")
HEAD = "define i32 @f(ptr %dims, ptr %args, ptr %work, ptr %executor) nounwind {\nentry:\n"


class Tensor:
    """The shape of a tensor class: the array, whether it is still a mere record, and what a fresh one has."""

    __slots__ = ("value", "pending", "grad", "version", "__weakref__")

    value: Any
    pending: Any
    grad: Any
    version: Any

    def __init__(self, value: Any) -> None:
        self.value = value
        self.pending = None
        self.grad = None
        self.version = 0


SLOTS = TensorSlots("value", fresh=(("pending", "none"), ("grad", "none"), ("version", "zero")), version="version")
CONCRETE = (("pending", "none"),)
OBJECTS: dict[str, object] = {"none": None, "zero": 0}


def pointers(count: int) -> str:
    """Loads of the addresses in `args`, as %a0, %a1 …"""
    return "".join(f"  %q{k} = getelementptr ptr, ptr %args, i64 {k}\n  %a{k} = load ptr, ptr %q{k}\n" for k in range(count))


def loop(kind: str, count: str, body: str, name: str = "l") -> str:
    """`body` for %i from 0 below `count`, ending in the block after the loop. `body` may use %i and typed element pointers."""
    return f"""  br label %{name}.test
{name}.test:
  %{name}.i = phi i64 [0, %{name}.from], [%{name}.next, %{name}.body]
  %{name}.more = icmp slt i64 %{name}.i, {count}
  br i1 %{name}.more, label %{name}.body, label %{name}.end
{name}.body:
{body.replace("%i", f"%{name}.i").replace("KIND", kind)}
  %{name}.next = add i64 %{name}.i, 1
  br label %{name}.test
{name}.end:
"""


def simple_loop(count: str, body: str) -> str:
    """One loop right after the entry block."""
    return loop("float", count, body).replace("%l.from", "%entry")


DOUBLE_AND_SUM = (
    HEAD
    + pointers(3)
    + "  %n = COUNT\n  store float 0.0, ptr %a1\n"
    + simple_loop(
        "%n",
        """  %px = getelementptr float, ptr %a0, i64 %i
  %py = getelementptr float, ptr %a2, i64 %i
  %x = load float, ptr %px
  %y = fadd float %x, %x
  store float %y, ptr %py
  %s = load float, ptr %a1
  %t = fadd float %s, %x
  store float %t, ptr %a1""",
    )
    + "  ret i32 0\n}\n"
)
"""Inputs x; outputs sum(x) and 2 x."""


def double_and_sum(count: int | None) -> str:
    """For `count` elements; None takes the count from the first dimension."""
    return DOUBLE_AND_SUM.replace("COUNT", "load i64, ptr %dims" if count is None else f"add i64 {count}, 0")


CHECKED = (
    HEAD
    + pointers(2)
    + """  %x = load float, ptr %a0
  %bad = fcmp olt float %x, 0.0
  %code = zext i1 %bad to i32
  store float %x, ptr %a1
  ret i32 %code
}
"""
)
"""Input x: f32[]; output x; check 1 fails below zero."""

DESCEND = (
    HEAD
    + pointers(5)
    + "  %rate = load float, ptr %a2\n  store float 0.0, ptr %a3\n"
    + simple_loop(
        "4",
        """  %pp = getelementptr float, ptr %a0, i64 %i
  %pg = getelementptr float, ptr %a1, i64 %i
  %po = getelementptr float, ptr %a4, i64 %i
  %p = load float, ptr %pp
  %g = load float, ptr %pg
  %step = fmul float %rate, %g
  %new = fsub float %p, %step
  store float %new, ptr %po
  %s = load float, ptr %a3
  %t = fadd float %s, %p
  store float %t, ptr %a3""",
    )
    + "  ret i32 0\n}\n"
)
"""Inputs p: f32[4], g: f32[4], rate: f32[]; outputs sum(p) and p - rate g."""

THROUGH_WORK = (
    HEAD
    + pointers(2)
    + """  %n = load i64, ptr %dims
  %where = ptrtoint ptr %work to i64
  %off = and i64 %where, 63
  %aligned = icmp eq i64 %off, 0
  br i1 %aligned, label %start, label %bad
bad:
  ret i32 7
start:
"""
    + loop(
        "double",
        "%n",
        """  %px = getelementptr double, ptr %a0, i64 %i
  %pw = getelementptr double, ptr %work, i64 %i
  %x = load double, ptr %px
  store double %x, ptr %pw""",
        "in",
    ).replace("%in.from", "%start")
    + loop(
        "double",
        "%n",
        """  %rw = getelementptr double, ptr %work, i64 %i
  %py = getelementptr double, ptr %a1, i64 %i
  %w = load double, ptr %rw
  %y = fmul double %w, 3.0
  store double %y, ptr %py""",
        "out",
    ).replace("%out.from", "%in.end")
    + "  ret i32 0\n}\n"
)
"""Input x: f64[n]; output 3 x, with x copied through a workspace of 8 n bytes."""

ADD_ONE_I64 = HEAD + pointers(2) + "  %x = load i64, ptr %a0\n  %y = add i64 %x, 1\n  store i64 %y, ptr %a1\n  ret i32 0\n}\n"
"""Input x: i64[]; output x + 1."""


NOTHING = HEAD + "  ret i32 0\n}\n"
"""Writes nothing."""


@functools.cache
def loaded(text: str) -> Loaded:
    """A kernel in memory."""
    return load(assemble(text, TARGET), ["f"])


def artifact(inputs: Sequence[ArgSpec], outputs: Sequence[ArgSpec], **rest: Any) -> Artifact:
    return Artifact("f", b"", tuple(inputs), tuple(outputs), **rest)


def executable(text: str, inputs: Sequence[ArgSpec], outputs: Sequence[ArgSpec], **rest: Any) -> Executable:
    return Executable(artifact(inputs, outputs, **rest), loaded(text))


@functools.cache
def planned(signature: Signature) -> tuple[EntryPlan, Loaded]:
    found = layout.probe()
    assert found is not None
    plan = emit_entry(signature, found, layout.slot_offsets(Tensor))
    return plan, load(assemble(plan.text, TARGET, quick=True), [plan.symbol])


def slow(*args: Any, **keywords: Any) -> Any:
    """The fallback of most tests."""
    return ("slow", args, keywords)


def builtin(
    text: str,
    signature: Signature,
    fallback: Callable[..., Any] = slow,
    captured: Sequence[object] = (),
    objects: dict[str, object] | None = None,
    epoch: Epoch | None = None,
) -> Callable[..., Any]:
    plan, code = planned(signature)
    work = signature.work_bytes if isinstance(signature.work_bytes, int) else 0
    return make_entry(
        plan,
        code,
        loaded(text),
        "f",
        fallback,
        work_bytes=work,
        tensor_type=Tensor,
        captured=captured,
        objects=OBJECTS | (objects or {}),
        epoch=epoch,
    )


def f32(name: str, *shape: int | str) -> ArgSpec:
    return ArgSpec(name, "f32", shape)


def f64(name: str, *shape: int | str) -> ArgSpec:
    return ArgSpec(name, "f64", shape)


def array(index: int) -> Source:
    return Source("array", index)


def tensor(index: int) -> Source:
    return Source("tensor", index, CONCRETE)


ARRAY = Result("array")
TENSOR = Result("tensor")
ARRAYS = Signature(1, (f32("x", 8),), (array(0),), (f32("s"), f32("y", 8)), (ARRAY, ARRAY))
"""The signature of `double_and_sum(8)` over arrays."""


class Odd(np.ndarray[Any, Any]):
    """Not an exact ndarray."""


def counting(count: int = 8, dtype: Any = np.float32) -> Any:
    return np.arange(count, dtype=dtype)


def misaligned(count: int) -> Any:
    x = np.zeros(4 * count + 1, np.uint8)[1:].view(np.float32)
    x[:] = counting(count)
    assert not x.flags.aligned
    return x
