"""Kernels and products that calls share: LLVM text that cuts them into tasks for an executor.

For a kernel `@f(args…, i64 first, i64 limit)` there is

    void @f.run(ptr executor, i64 tasks, i64 units, args…)     all units: in one call without an executor, else shared by tasks
    void @f.body(ptr argument, i64 low, i64 high)              what the executor calls: the units of tasks low .. high-1

Task t has the units from t * units / tasks on. Each has a part of the kernel's scratch.
"""

from __future__ import annotations

from collections.abc import Sequence

from rustorch.artifact import EXECUTOR
from rustorch.codegen.emit_llvm import ATTRIBUTES
from rustorch.codegen.loops import Share
from rustorch.codegen.microkernel import tiling
from rustorch.codegen.products import gemm_symbol
from rustorch.codegen.schedule import TASK_CYCLES
from rustorch.codegen.target import Target
from rustorch.ir.dims import Size


def shared_kernel_text(symbol: str, kinds: Sequence[str], scratch: Sequence[int]) -> str:
    """`symbol.run` and `symbol.body` for a kernel whose arguments before `first` are of `kinds`.

    Argument number k in `scratch` is a pointer to the scratch of task 0; then an i64 behind the arguments (in the order of
    `scratch`) says how far apart those of the tasks lie.
    """
    every = ["i64", "i64", *kinds, *["i64"] * len(scratch)]
    names = ["%tasks", "%units", *(f"%a{k}" for k in range(len(kinds))), *(f"%s{k}" for k in scratch)]
    lines: list[str] = []
    for k in scratch:
        lines += [f"  %o{k} = mul i64 %low, %s{k}", f"  %m{k} = getelementptr i8, ptr %a{k}, i64 %o{k}"]
    moved = [f"{kind} {f'%m{k}' if k in scratch else f'%a{k}'}" for k, kind in enumerate(kinds)]
    whole = [f"{kind} %a{k}" for k, kind in enumerate(kinds)]
    body = [
        *lines,
        "  %p0 = mul i64 %low, %units",
        "  %first = udiv i64 %p0, %tasks",
        "  %p1 = mul i64 %high, %units",
        "  %limit = udiv i64 %p1, %tasks",
        f"  call void @{symbol}({', '.join([*moved, 'i64 %first', 'i64 %limit'])})",
    ]
    serial = f"  call void @{symbol}({', '.join([*whole, 'i64 0', 'i64 %units'])})"
    return _shared(symbol, every, names, [serial], body)


def _shared(symbol: str, kinds: Sequence[str], names: Sequence[str], serial: Sequence[str], body: Sequence[str]) -> str:
    """`symbol.run` with these parameters (`%tasks` among them), and the body that finds them in a record."""
    record = [f"  %f{k} = getelementptr i8, ptr %record, i64 {8 * k}" for k in range(len(kinds))]
    stores = [f"  store {kind} {name}, ptr %f{k}, align 8" for k, (kind, name) in enumerate(zip(kinds, names, strict=True))]
    loads = [f"  {name} = load {kind}, ptr %f{k}, align 8" for k, (kind, name) in enumerate(zip(kinds, names, strict=True))]
    parameters = ", ".join(f"{kind} {name}" for kind, name in zip(kinds, names, strict=True))
    return "\n".join([
        f"define internal void @{symbol}.body(ptr %record, i64 %low, i64 %high) {ATTRIBUTES} {{",
        "entry:", *record, *loads, *body,
        "  ret void",
        "}",
        f"define internal void @{symbol}.run(ptr %executor, {parameters}) noinline {ATTRIBUTES} {{",
        "entry:",
        "  %none = icmp eq ptr %executor, null",
        "  %few = icmp slt i64 %tasks, 2",
        "  %alone = or i1 %none, %few",
        "  br i1 %alone, label %serial, label %parallel",
        "serial:",
        *serial,
        "  ret void",
        "parallel:",
        f"  %record = alloca [{8 * len(kinds)} x i8], align 8",
        *record,
        *stores,
        f"  %pf = getelementptr i8, ptr %executor, i64 {EXECUTOR['parallel_for']}",
        "  %function = load ptr, ptr %pf, align 8",
        f"  %cf = getelementptr i8, ptr %executor, i64 {EXECUTOR['context']}",
        "  %context = load ptr, ptr %cf, align 8",
        f"  call void %function(ptr %context, i64 %tasks, ptr @{symbol}.body, ptr %record)",
        "  ret void",
        "}", "",
    ])  # fmt: skip


PRODUCT_KINDS = ("i64", "i64", "i64", "ptr", "i64", "i64", "i64", "ptr", "i64", "i64", "i64", "ptr", "i64", "i64", "ptr")
"""Of a shared product: m, n, k, then a, b and c as pointer, batch stride, row stride, column stride (c has none), then the workspace."""
PRODUCT_CALLS = 16
"""Calls at once that share a product; each has a workspace."""


def share_product(count: Size, m: Size, n: Size, k: Size, dtype: str, target: Target) -> Share | None:
    """How calls share a batch of products; not where it is little work, or where sizes are unknown (see `shared_product_text`)."""
    rows, columns = _unit(dtype, target)
    if not (isinstance(count, int) and isinstance(m, int) and isinstance(n, int) and isinstance(k, int)):
        return None
    cycles = count * m * n * k // (2 * target.lanes(int(dtype[1:])))
    units = count * (-(-m // rows) if m >= n else -(-n // columns))
    return Share(units, cycles, PRODUCT_CALLS).bounded() if cycles >= 2 * TASK_CYCLES and units > 1 else None


def _unit(dtype: str, target: Target) -> tuple[int, int]:
    if dtype in ("i32", "i64"):
        return 8, target.lanes(int(dtype[1:]))
    shape = tiling(dtype, target)
    return 2 * shape.rows[0], shape.columns


def shared_product_text(symbol: str, dtype: str, target: Target) -> str:
    """A batch of products as a kernel that calls share: a unit is some rows of one product, or columns where there are more of them."""
    rows, columns = _unit(dtype, target)
    size = 4 if dtype.endswith("32") else 8
    parameters = ", ".join(f"{kind} %a{k}" for k, kind in enumerate(PRODUCT_KINDS))
    return f"""define internal void @{symbol}({parameters}, i64 %first, i64 %limit) noinline {ATTRIBUTES} {{
entry:
  %by_rows = icmp sge i64 %a0, %a1
  %extent = select i1 %by_rows, i64 %a0, i64 %a1
  %unit = select i1 %by_rows, i64 {rows}, i64 {columns}
  %above = add i64 %extent, %unit
  %above1 = sub i64 %above, 1
  %counted = udiv i64 %above1, %unit
  %units = call i64 @llvm.smax.i64(i64 %counted, i64 1)
  %a_step = select i1 %by_rows, i64 %a5, i64 0
  %b_step = select i1 %by_rows, i64 0, i64 %a10
  %c_step = select i1 %by_rows, i64 %a13, i64 1
  %some = icmp slt i64 %first, %limit
  br i1 %some, label %next, label %end
next:
  %u = phi i64 [%first, %entry], [%following, %next]
  %batch = udiv i64 %u, %units
  %before = mul i64 %batch, %units
  %after = add i64 %before, %units
  %following = call i64 @llvm.smin.i64(i64 %after, i64 %limit)
  %u0 = sub i64 %u, %before
  %u1 = sub i64 %following, %before
  %start = mul i64 %u0, %unit
  %stop0 = mul i64 %u1, %unit
  %stop = call i64 @llvm.smin.i64(i64 %stop0, i64 %extent)
  %count = sub i64 %stop, %start
  %m = select i1 %by_rows, i64 %count, i64 %a0
  %n = select i1 %by_rows, i64 %a1, i64 %count
{_moved("a", "%a3", "%a4", size)}
{_moved("b", "%a7", "%a8", size)}
{_moved("c", "%a11", "%a12", size)}
  call void @{gemm_symbol(dtype, target)}(i64 %m, i64 %n, i64 %a2, ptr %a.p, i64 %a5, i64 %a6, \
ptr %b.p, i64 %a9, i64 %a10, ptr %c.p, i64 %a13, i64 0, ptr %a14)
  %more = icmp slt i64 %following, %limit
  br i1 %more, label %next, label %end
end:
  ret void
}}
"""


def _moved(name: str, pointer: str, batch: str, size: int) -> str:
    """The pointer to a matrix of the batch, from `start` rows or columns on."""
    return f"""  %{name}.b = mul i64 %batch, {batch}
  %{name}.s = mul i64 %start, %{name}_step
  %{name}.o = add i64 %{name}.b, %{name}.s
  %{name}.y = mul i64 %{name}.o, {size}
  %{name}.p = getelementptr i8, ptr {pointer}, i64 %{name}.y"""
