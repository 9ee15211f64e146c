"""Register tiles of a matrix product as LLVM text, and the small writer of loops that they and `products` share.

A tile keeps `rows` by `vectors` accumulators in registers and walks k once: one vector of a row of B is multiplied by one
broadcast element of A. Which tiles exist, and how large the blocks around them are, is one `Tiling` per element type and level.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rustorch.codegen.target import Target
from rustorch.errors import Unsupported

Values = list[str]
"""SSA names."""
Carry = Sequence[tuple[str, str]]
"""Values that a loop passes from turn to turn: (type, first value)."""

ATTRIBUTES = 'nounwind "no-builtins" "prefer-vector-width"="512"'

_SCALARS = {"f32": ("float", 4), "f64": ("double", 8)}
_ROWS = {"v2": (4, 2), "v3": (6, 4, 2), "v4": (12, 4, 2)}
"""Rows of the register tiles: 2 vectors times the first must leave registers for two vectors of B and an element of A.
The others serve the lower edge of a block; few, because each costs compile time."""


@dataclass(frozen=True)
class Tiling:
    """Register tiles and cache blocks of one element type at one level. Sizes count elements unless they say bytes."""

    scalar: str
    size: int
    lanes: int
    rows: tuple[int, ...]
    masked: bool
    """Whether the level has cheap masked loads and stores; otherwise edges pass through a scratch tile."""
    has_fma: bool
    block_k: int
    """Longest run of k that one accumulator sums; part of the meaning of a product (see `products`)."""
    block_bytes: int
    """Size of a copied block of A: a quarter of the second cache."""

    @property
    def block_m(self) -> int:
        """Rows of a block of A, whole tiles."""
        return self.block_bytes // (self.block_k * self.size) // self.rows[0] * self.rows[0]

    @property
    def block_n(self) -> int:
        """Columns of B between two passes over A."""
        return 4096 // self.size

    @property
    def vector(self) -> str:
        """LLVM's name of a full vector."""
        return f"<{self.lanes} x {self.scalar}>"

    @property
    def suffix(self) -> str:
        """The vector type in the names of LLVM's intrinsics."""
        return f"v{self.lanes}f{self.size * 8}"

    @property
    def columns(self) -> int:
        """Columns of a register tile: two vectors."""
        return 2 * self.lanes

    @property
    def square(self) -> int:
        """Elements in 16 bytes: the square that is transposed in registers."""
        return 16 // self.size


def tiling(dtype: str, target: Target) -> Tiling:
    """The tiling of `f32` or `f64` at the target's level."""
    if dtype not in _SCALARS:
        raise Unsupported(f"matrix products of {dtype}: f32, f64, i32 and i64 are built")
    scalar, size = _SCALARS[dtype]
    rows = _ROWS[target.level]
    lanes = target.vector_bytes // size
    return Tiling(scalar, size, lanes, rows, target.level == "v4", target.has_fma, block_k=384, block_bytes=target.l2_bytes // 4)


class Writer:
    """Writes the body of one function: names values and labels, and closes loops with their phi nodes."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.count = 0
        self.block = "entry"

    def do(self, text: str) -> None:
        """Appends an instruction without a result."""
        self.lines.append(f"  {text}")

    def let(self, text: str) -> str:
        """Appends an instruction and gives its result's name."""
        self.count += 1
        self.do(f"%v{self.count} = {text}")
        return f"%v{self.count}"

    def at(self, pointer: str, *offsets: str | int) -> str:
        """`pointer` moved by byte offsets."""
        for offset in offsets:
            if offset != 0:
                pointer = self.let(f"getelementptr i8, ptr {pointer}, i64 {offset}")
        return pointer

    def opaque(self, pointer: str) -> str:
        """`pointer`, hiding from LLVM how it was computed: each such pointer keeps a register and is advanced by itself.

        Left to itself LLVM's loop strength reduction turns pointers of the same loop into one chain of additions, or into more
        pointers than there are registers.
        """
        return self.let(f"freeze ptr {pointer}")

    def mul(self, x: str | int, y: str | int) -> str:
        """`x * y`, 64-bit."""
        return self.let(f"mul i64 {x}, {y}")

    def add(self, x: str | int, y: str | int) -> str:
        """`x + y`, 64-bit."""
        return self.let(f"add i64 {x}, {y}")

    def sub(self, x: str | int, y: str | int) -> str:
        """`x - y`, 64-bit."""
        return self.let(f"sub i64 {x}, {y}")

    def div(self, x: str | int, y: str | int) -> str:
        """`x / y` rounded down, 64-bit, for x not negative."""
        return self.let(f"udiv i64 {x}, {y}")

    def down(self, x: str | int, step: int) -> str:
        """`x` rounded down to a multiple of `step`, for x not negative."""
        return self.mul(self.div(x, step), step)

    def both(self, x: str, y: str) -> str:
        """`x and y`."""
        return self.let(f"and i1 {x}, {y}")

    def either(self, x: str, y: str) -> str:
        """`x or y`."""
        return self.let(f"or i1 {x}, {y}")

    def pick(self, condition: str, x: str | int, y: str | int, kind: str = "i64") -> str:
        """`x if condition else y`."""
        return self.let(f"select i1 {condition}, {kind} {x}, {kind} {y}")

    def least(self, x: str | int, y: str | int) -> str:
        """The smaller of two 64-bit integers."""
        return self.let(f"call i64 @llvm.smin.i64(i64 {x}, i64 {y})")

    def compare(self, how: str, x: str | int, y: str | int) -> str:
        """A comparison (`slt`, `eq` …) of two 64-bit integers."""
        return self.let(f"icmp {how} i64 {x}, {y}")

    def label(self, name: str) -> None:
        """Opens a block."""
        self.lines.append(f"{name}:")
        self.block = name

    def loop(self, start: str | int, stop: str | int, step: str | int, turn: Callable[[str, Values], Values | None],
             carry: Carry = (), once: bool = False) -> Values:
        """`for i in range(start, stop, step)`, with a positive step: `turn(i, carried)` gives the next carried values.

        With `once` the first turn is known to run and the test stands at the end, which is what a hot loop wants.
        """
        self.count += 1
        head, body, end = (f"{word}{self.count}" for word in ("head", "body", "end"))
        before, i = self.block, f"%i{self.count}"
        names = [f"%c{self.count}_{j}" for j in range(len(carry))]
        self.do(f"br label %{head}")
        self.label(head)
        phis = len(self.lines)
        if not once:
            self.do(f"br i1 {self.compare('slt', i, stop)}, label %{body}, label %{end}")
            self.label(body)
        after = turn(i, names) or []
        following = self.add(i, step)
        back = self.block
        if once:
            self.do(f"br i1 {self.compare('slt', following, stop)}, label %{head}, label %{end}")
        else:
            self.do(f"br label %{head}")
        self.label(end)
        phi = [(i, "i64", str(start), following)]
        phi += [(name, kind, first, last) for name, (kind, first), last in zip(names, carry, after, strict=True)]
        self.lines[phis:phis] = [f"  {name} = phi {kind} [{first}, %{before}], [{last}, %{back}]" for name, kind, first, last in phi]
        return after if once else names

    def advance(self, start: str | int, stop: str | int, turn: Callable[[str], str]) -> None:
        """`i = start; while i < stop: i = turn(i)`."""
        self.count += 1
        head, body, end, i = f"head{self.count}", f"body{self.count}", f"end{self.count}", f"%i{self.count}"
        before = self.block
        self.do(f"br label %{head}")
        self.label(head)
        phi = len(self.lines)
        self.do(f"br i1 {self.compare('slt', i, stop)}, label %{body}, label %{end}")
        self.label(body)
        following = turn(i)
        self.lines.insert(phi, f"  {i} = phi i64 [{start}, %{before}], [{following}, %{self.block}]")
        self.do(f"br label %{head}")
        self.label(end)

    def when(self, condition: str, then: Callable[[], Values | None], otherwise: Callable[[], Values | None] = lambda: None,
             kinds: Sequence[str] = ()) -> Values:
        """`if condition: then() else: otherwise()`; both give values of `kinds`."""
        self.count += 1
        yes, no, end = (f"{word}{self.count}" for word in ("then", "else", "end"))
        self.do(f"br i1 {condition}, label %{yes}, label %{no}")
        branches = []
        for name, branch in ((yes, then), (no, otherwise)):
            self.label(name)
            values = branch() or []
            branches.append((values, self.block))
            self.do(f"br label %{end}")
        self.label(end)
        (left, left_block), (right, right_block) = branches
        return [self.let(f"phi {kind} [{x}, %{left_block}], [{y}, %{right_block}]") for kind, x, y in zip(kinds, left, right, strict=True)]

    def function(self, head: str, control: bool = False) -> str:
        """The function's text; `head` is all before its body, without `define`.

        A `control` function only chooses and calls others. LLVM is told not to optimise it: that costs a product 2 ns and saves
        a third of the compile time.
        """
        attributes = f"noinline optnone {ATTRIBUTES}" if control else ATTRIBUTES
        return "\n".join([f"define {head} {attributes} {{", "entry:", *self.lines, "  ret void", "}", ""])


class TileWriter(Writer):
    """A writer that knows the vectors of a tiling."""

    def __init__(self, shape: Tiling) -> None:
        super().__init__()
        self.shape = shape

    def load(self, pointer: str) -> str:
        """A full vector."""
        return self.let(f"load {self.shape.vector}, ptr {pointer}, align {self.shape.size}")

    def store(self, value: str, pointer: str) -> None:
        """Stores a full vector."""
        self.do(f"store {self.shape.vector} {value}, ptr {pointer}, align {self.shape.size}")

    def mask(self, bits: str) -> str:
        """A lane mask from the low bits of an `i32`."""
        lanes = self.shape.lanes
        narrow = self.let(f"trunc i32 {bits} to i{lanes}")
        return self.let(f"bitcast i{lanes} {narrow} to <{lanes} x i1>")

    def first_lanes(self, count: str) -> str:
        """An `i32` with the lowest `count` bits set: a count (`i64`) below 0 sets none, one above the lanes all."""
        positive = self.let(f"call i64 @llvm.smax.i64(i64 {count}, i64 0)")
        narrow = self.let(f"trunc i64 {self.least(positive, self.shape.lanes)} to i32")
        return self.let(f"sub i32 {self.let(f'shl i32 1, {narrow}')}, 1")

    def masked_load(self, pointer: str, mask: str, other: str = "zeroinitializer") -> str:
        """The lanes of `mask`, those of `other` elsewhere; the other lanes are not read."""
        shape = self.shape
        return self.let(f"call {shape.vector} @llvm.masked.load.{shape.suffix}.p0(ptr align {shape.size} {pointer}, "
                        f"<{shape.lanes} x i1> {mask}, {shape.vector} {other})")

    def masked_store(self, value: str, pointer: str, mask: str) -> None:
        """Stores the lanes of `mask`; the other lanes are not written."""
        shape = self.shape
        self.do(f"call void @llvm.masked.store.{shape.suffix}.p0({shape.vector} {value}, ptr align {shape.size} {pointer}, "
                f"<{shape.lanes} x i1> {mask})")

    def splat(self, pointer: str) -> str:
        """The element at `pointer` in every lane."""
        shape = self.shape
        one = self.let(f"load {shape.scalar}, ptr {pointer}, align {shape.size}")
        lane = self.let(f"insertelement {shape.vector} poison, {shape.scalar} {one}, i32 0")
        return self.let(f"shufflevector {shape.vector} {lane}, {shape.vector} poison, <{shape.lanes} x i32> zeroinitializer")

    def multiply_add(self, x: str, y: str, z: str) -> str:
        """`x * y + z`: rounded once where the level has the instruction, twice elsewhere."""
        shape = self.shape
        if shape.has_fma:
            return self.let(f"call {shape.vector} @llvm.fma.{shape.suffix}({shape.vector} {x}, {shape.vector} {y}, {shape.vector} {z})")
        product = self.let(f"fmul {shape.vector} {x}, {y}")
        return self.let(f"fadd {shape.vector} {z}, {product}")

    def transpose(self, rows: Values) -> Values:
        """Squares of 16-byte rows with rows and columns exchanged, side by side in one vector or more of them.

        log2(square) rounds interleave row i with row i + square/2.
        """
        lanes, square = self.shape.lanes, self.shape.square
        masks = [", ".join(f"i32 {first + start + i // 2 + i % 2 * lanes}" for first in range(0, lanes, square) for i in range(square))
                 for start in (0, square // 2)]
        for _ in range(square.bit_length() - 1):
            rows = [self.let(f"shufflevector {self.shape.vector} {x}, {self.shape.vector} {y}, <{lanes} x i32> <{mask}>")
                    for x, y in zip(rows[:square // 2], rows[square // 2:], strict=True) for mask in masks]
        return rows

    def concatenate(self, pieces: Values) -> str:
        """A vector from 16-byte pieces, in order."""
        count = self.shape.square
        while len(pieces) > 1:
            kind = f"<{count} x {self.shape.scalar}>"
            order = ", ".join(f"i32 {i}" for i in range(2 * count))
            pieces = [self.let(f"shufflevector {kind} {low}, {kind} {high}, <{2 * count} x i32> <{order}>")
                      for low, high in zip(pieces[::2], pieces[1::2], strict=True)]
            count *= 2
        return pieces[0]


def block_depth(w: Writer, shape: Tiling, k: str = "%k") -> str:
    """Length of the blocks of `k`, at least 1: equal but for the last, and none above `block_k`."""
    blocks = w.div(w.add(k, shape.block_k - 1), shape.block_k)
    return w.div(w.sub(w.add(k, blocks), 1), blocks)


def declarations(shape: Tiling) -> str:
    """The intrinsics that a `TileWriter` of this tiling, or of narrower vectors, calls. All become instructions."""
    lines = ["declare i64 @llvm.smin.i64(i64, i64)", "declare i64 @llvm.smax.i64(i64, i64)"]
    if shape.has_fma:
        lanes = 1
        while lanes <= shape.lanes:
            narrow = replace(shape, lanes=lanes)
            lines.append(f"declare {narrow.vector} @llvm.fma.{narrow.suffix}({narrow.vector}, {narrow.vector}, {narrow.vector})")
            lanes *= 2
    if shape.masked:
        vector, mask = shape.vector, f"<{shape.lanes} x i1>"
        lines.append(f"declare {vector} @llvm.masked.load.{shape.suffix}.p0(ptr, {mask}, {vector})")
        lines.append(f"declare void @llvm.masked.store.{shape.suffix}.p0({vector}, ptr, {mask})")
    return "\n".join(lines) + "\n"


_TILE_ARGUMENTS = ("i64 %k, ptr noalias %a, i64 %a_row, i64 %a_col, ptr noalias %b, i64 %b_row, "
                   "ptr noalias %c, i64 %c_row, i32 %old, i32 %last")


def tile_text(shape: Tiling, name: str, rows: int, vectors: int) -> str:
    """A register tile: `c[rows, vectors]` (+)= `a[rows, k] @ b[k, vectors]`, k at least 1, strides in bytes.

    `old` is all ones to add to C and 0 to overwrite it. `last` masks the lanes of the last vector of C (masked levels only;
    at the others it is unused). Every element of C is one chain over k from zero, added to the old element at the end.
    Rows may coincide (strides of A and C zero): all of C is read before it is written.
    """
    w = TileWriter(shape)
    width = shape.lanes * shape.size
    # Three rows share a base pointer: [base], [base + row], [base + 2 row] are addressing modes, so few registers hold addresses.
    bases = [w.opaque(w.at("%a", w.mul("%a_row", first))) for first in range(0, rows, 3)]
    twice = w.add("%a_row", "%a_row")

    def turn(_: str, carried: Values) -> Values:
        b, here, sums = carried[0], carried[1:1 + len(bases)], carried[1 + len(bases):]
        right = [w.load(w.at(b, v * width)) for v in range(vectors)]
        following = []
        for i in range(rows):
            left = w.splat(w.at(here[i // 3], (0, "%a_row", twice)[i % 3]))
            following += [w.multiply_add(left, right[v], sums[i * vectors + v]) for v in range(vectors)]
        return [w.at(b, "%b_row"), *(w.opaque(w.at(base, "%a_col")) for base in here), *following]

    carry = [("ptr", "%b"), *(("ptr", base) for base in bases), *[(shape.vector, "zeroinitializer")] * (rows * vectors)]
    sums = w.loop(0, "%k", 1, turn, carry, once=True)[1 + len(bases):]
    pointers, row = [], "%c"
    for _ in range(rows):
        pointers += [w.at(row, v * width) for v in range(vectors)]
        row = w.at(row, "%c_row")
    if shape.masked:
        _masked_end(w, vectors, sums, pointers)
    else:
        _plain_end(w, sums, pointers)
    return w.function(f"internal void @{name}({_TILE_ARGUMENTS}) noinline")


def _masked_end(w: TileWriter, vectors: int, sums: Values, pointers: Values) -> None:
    """Adds to C or overwrites it, in one code for both: overwriting masks the old elements' load out."""
    shape = w.shape
    last = w.mask("%last")
    load = [w.mask("%old")] * (vectors - 1) + [w.mask(w.let("and i32 %old, %last"))]
    # What is masked out reads as -0, the one number whose addition changes nothing.
    nothing = "<" + ", ".join([f"{shape.scalar} -0.0"] * shape.lanes) + ">"
    totals = [w.let(f"fadd {shape.vector} {total}, {w.masked_load(pointer, load[j % vectors], nothing)}")
              for j, (pointer, total) in enumerate(zip(pointers, sums, strict=True))]
    # All loads come before all stores also for speed: a load that touches bytes under a masked store would wait for it.
    for j, (pointer, total) in enumerate(zip(pointers, totals, strict=True)):
        if j % vectors == vectors - 1:
            w.masked_store(total, pointer, last)
        else:
            w.store(total, pointer)


def _plain_end(w: TileWriter, sums: Values, pointers: Values) -> None:
    """Adds to C or overwrites it, by a branch around the additions."""
    vector = w.shape.vector

    def adding() -> Values:
        return [w.let(f"fadd {vector} {total}, {w.load(pointer)}") for pointer, total in zip(pointers, sums, strict=True)]

    totals = w.when(w.let("icmp ne i32 %old, 0"), adding, lambda: sums, [vector] * len(sums))
    for pointer, total in zip(pointers, totals, strict=True):
        w.store(total, pointer)
