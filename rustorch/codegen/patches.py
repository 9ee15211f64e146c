"""Patches of images for convolutions, as LLVM text: an image is staged once, then patches are gathered from it.

*Staged* is an image with its zeros around and between the elements, in which places that the kernel's step leads to one after
the other lie next to each other: an axis with step b is kept as b *phases*, element v as number v // b of phase v % b. So
whatever the steps are, the places of a row read consecutive elements, and a tap of the kernel is one offset for all places.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rustorch.codegen.microkernel import TileWriter, Tiling, Values

AXES = 3
"""Axes of space: fewer are filled up with axes of size 1 in front."""

FIELDS = (
    "batch", "groups", "channels", "features",
    *(f"{name}{axis}" for name in ("size", "taps", "places", "stride", "dilation", "low", "spread") for axis in range(AXES)),
    "x_batch", "x_group", "x_channel", *(f"x{axis}" for axis in range(AXES)),
    "w_group", "w_feature", "w_channel", "w_tap",
    "block", "joint", "whole_batch",
)  # fmt: skip
"""The table of a call, 8 bytes each: sizes, steps, strides of both operands in elements, the images' channels of a block of kernels'
gradients, how many images share panels, and the batch of the whole result, of which a call may do a part."""

_PLAN = (
    "rows",  # taps of all axes
    "columns0", "columns1", "columns2",  # places along each axis, adjacent axes joined where their memory is
    "step_channel", "step0", "step1", "step2",  # bytes in the staged image
    *(f"{name}{axis}" for name in ("phase", "every", "extent", "first", "behind") for axis in range(AXES)),
    "direct",
)  # fmt: skip
"""What both orders derive from the table before they start."""


class ConvolutionWriter(TileWriter):
    """A writer that reads the table and the plan by name."""

    def __init__(self, shape: Tiling) -> None:
        super().__init__(shape)
        self._read: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        """A field of the table, read where it is first named: at the function's top, so that it serves the whole of it."""
        if name not in self._read:
            assert self.block == "entry", f"{name} is read for the first time inside a loop"
            self._read[name] = self.let(f"load i64, ptr {self.at('%table', 8 * FIELDS.index(name))}")
        return self._read[name]

    def read(self, *names: str) -> Values:
        """Several fields."""
        return [self[name] for name in names]

    def along(self, name: str) -> Values:
        """A field of each axis."""
        return self.read(*(f"{name}{axis}" for axis in range(AXES)))

    def strides(self, *names: str) -> Values:
        """Strides in bytes."""
        return [self.mul(self[name], self.shape.size) for name in names]

    def part(self, number: int) -> str:
        """A part of the workspace."""
        offset = self.let(f"load i64, ptr {self.at('%table', 8 * (len(FIELDS) + number))}")
        return self.at("%work", offset)

    def planned(self, name: str) -> str:
        """A number of the plan."""
        return self.let(f"load i64, ptr {self.at('%work', 8 * _PLAN.index(name))}")

    def note(self, name: str, value: str | int) -> None:
        """Write a number of the plan."""
        self.do(f"store i64 {value}, ptr {self.at('%work', 8 * _PLAN.index(name))}")

    def rem(self, x: str, y: str | int) -> str:
        """`x % y`, for x not negative."""
        return self.let(f"urem i64 {x}, {y}")

    def most(self, x: str | int, y: str | int) -> str:
        """The larger of two 64-bit integers."""
        return self.let(f"call i64 @llvm.smax.i64(i64 {x}, i64 {y})")

    def up(self, x: str, y: str | int) -> str:
        """`x / y` rounded up, for x not negative."""
        return self.div(self.sub(self.add(x, y), 1), y)

    def product(self, factors: Sequence[str | int]) -> str:
        """The product of several numbers."""
        total: str | int = 1
        for factor in factors:
            total = factor if total == 1 else self.mul(total, factor)
        return str(total)

    def copy(self, src: str, dst: str) -> None:
        """Copies one element."""
        self.do(f"store {self.shape.scalar} {self.let(f'load {self.shape.scalar}, ptr {src}')}, ptr {dst}")

    def nest(self, bounds: Sequence[tuple[str | int, str | int]], body: Callable[[Values], None], at: Sequence[str] = ()) -> None:
        """One loop a pair of bounds around a body, which gets the indices."""
        if not bounds:
            body(list(at))
            return
        (start, stop), rest = bounds[0], bounds[1:]
        self.loop(start, stop, 1, lambda i, _: self.nest(rest, body, (*at, i)))


def plan_text(shape: Tiling, symbol: str) -> str:
    """Derives the plan. Taps `l` and places `p` of the loops: those of the kernel and the result, or the other way round."""
    w = ConvolutionWriter(shape)
    swap = w.compare("ne", "%swap", 0)
    size = shape.size

    def chosen(first: str, second: str) -> Values:
        return [w.pick(swap, w[f"{second}{axis}"], w[f"{first}{axis}"]) for axis in range(AXES)]

    taps, places = chosen("taps", "places"), chosen("places", "taps")
    tap_steps, steps = chosen("dilation", "stride"), chosen("stride", "dilation")
    low, spread, sizes, strides = (w.along(name) for name in ("low", "spread", "size", "x"))
    extents, widths = [], []
    plain = w.compare("eq", strides[2], 1)
    for axis in range(AXES):
        span = w.add(w.mul(w.sub(places[axis], 1), steps[axis]), w.mul(w.sub(taps[axis], 1), tap_steps[axis]))
        extents.append(w.add(span, 1))
        widths.append(w.add(w.div(span, steps[axis]), 1))
        for same in (w.compare("eq", low[axis], 0), w.compare("eq", spread[axis], 1), w.compare("eq", steps[axis], 1),
                     w.compare("sle", extents[axis], sizes[axis])):
            plain = w.both(plain, same)
    step: list[str] = [str(size)]
    for axis in (2, 1):
        step.insert(0, w.mul(step[0], widths[axis]))
    phase = [w.mul(step[0], widths[0])]
    for axis in (2, 1, 0):
        phase.insert(0, w.mul(phase[0], steps[axis]))
    channel, phases = phase[0], phase[1:]
    step = [w.pick(plain, w.mul(strides[axis], size), step[axis]) for axis in range(AXES)]
    image_channel = w.pick(swap, w["x_batch"], w["x_channel"])
    w.note("step_channel", w.pick(plain, w.mul(image_channel, size), channel))
    w.note("direct", w.let(f"zext i1 {plain} to i64"))
    for axis in range(AXES):
        w.note(f"step{axis}", step[axis])
        w.note(f"phase{axis}", phases[axis])
        w.note(f"every{axis}", steps[axis])
        w.note(f"extent{axis}", extents[axis])
        first = w.up(w.most(w.sub(0, low[axis]), 0), spread[axis])
        inside = w.div(w.most(w.add(w.sub(w.sub(extents[axis], 1), low[axis]), spread[axis]), 0), spread[axis])
        w.note(f"first{axis}", first)
        w.note(f"behind{axis}", w.least(sizes[axis], inside))
    w.note("rows", w.product(taps))
    # Rows of places that follow each other in memory are one row.
    columns = list(places)
    for axis in (1, 0):
        joined = w.either(w.compare("eq", columns[axis], 1), w.compare("eq", step[axis], w.mul(columns[2], size)))
        if axis == 0:
            joined = w.both(joined, w.compare("eq", columns[1], 1))
        columns[2] = w.pick(joined, w.mul(columns[axis], columns[2]), columns[2])
        columns[axis] = w.pick(joined, 1, columns[axis])
    for axis in range(AXES):
        w.note(f"columns{axis}", columns[axis])
    table = w.part(0)

    def tap(at: Values) -> None:
        offset: str | int = 0
        for axis in range(AXES):
            place = w.mul(at[axis], tap_steps[axis])
            offset = w.add(offset, w.mul(w.rem(place, steps[axis]), phases[axis]))
            offset = w.add(offset, w.mul(w.div(place, steps[axis]), step[axis]))
        number = w.add(w.mul(w.add(w.mul(at[0], taps[1]), at[1]), taps[2]), at[2])
        w.do(f"store i64 {offset}, ptr {w.at(table, w.mul(number, 8))}")

    w.nest([(0, count) for count in taps], tap)
    return w.function(f"internal void @{symbol}.plan(ptr %table, ptr %work, i64 %swap) noinline")


def row_text(shape: Tiling, symbol: str) -> str:
    """Copies `count` consecutive elements, or fills them with zeros where there is no source."""
    w = ConvolutionWriter(shape)
    size, width = shape.size, shape.lanes * shape.size
    whole = w.down("%count", shape.lanes)

    def vector(i: str, _: Values) -> None:
        at = w.mul(i, size)
        w.store(w.load(w.at("%src", at)), w.at("%dst", at))

    w.loop(0, whole, shape.lanes, vector)
    if shape.masked:
        mask = w.mask(w.first_lanes(w.sub("%count", whole)))
        at = w.mul(whole, size)
        w.masked_store(w.masked_load(w.at("%src", at), mask), w.at("%dst", at), mask)
    else:

        def single(i: str, _: Values) -> None:
            at = w.mul(i, size)
            w.copy(w.at("%src", at), w.at("%dst", at))

        w.loop(whole, "%count", 1, single)
    row = w.function(f"internal void @{symbol}.row(ptr noalias %dst, ptr noalias %src, i64 %count) noinline")
    z = ConvolutionWriter(shape)
    z.loop(0, "%bytes", width, lambda i, _: z.store("zeroinitializer", z.at("%dst", i)))
    return row + "\n" + z.function(f"internal void @{symbol}.clear(ptr %dst, i64 %bytes) noinline")


def stage_text(shape: Tiling, symbol: str) -> str:
    """Copies channels of one image to their places in the staged image, whose other elements are zeros already."""
    w = ConvolutionWriter(shape)
    size = shape.size
    low, spread, strides = (w.along(name) for name in ("low", "spread", "x"))
    phase, every, step, first, behind = (
        [w.planned(f"{name}{axis}") for axis in range(AXES)] for name in ("phase", "every", "step", "first", "behind")
    )
    channel = w.planned("step_channel")
    count = w.sub(behind[2], first[2])
    start = w.add(w.mul(first[2], spread[2]), low[2])
    together = w.both(w.both(w.compare("eq", spread[2], 1), w.compare("eq", every[2], 1)), w.compare("eq", strides[2], 1))
    apart, turns = w.div(spread[2], every[2]), w.rem(spread[2], every[2])

    def line(at: Values) -> None:
        c, i, j = at
        src = w.at("%src", w.mul(c, "%src_channel"), w.mul(w.mul(first[2], strides[2]), size))
        dst = w.at("%dst", w.mul(c, channel))
        for axis, k in ((0, i), (1, j)):
            src = w.at(src, w.mul(w.mul(k, strides[axis]), size))
            place = w.add(w.mul(k, spread[axis]), low[axis])
            dst = w.at(dst, w.mul(w.rem(place, every[axis]), phase[axis]), w.mul(w.div(place, every[axis]), step[axis]))

        def row() -> None:
            w.do(f"call void @{symbol}.row(ptr {w.at(dst, w.mul(start, size))}, ptr {src}, i64 {count})")

        def single() -> None:
            def one(k: str, carried: Values) -> Values:
                q, f = carried
                w.copy(w.at(src, w.mul(w.mul(k, strides[2]), size)), w.at(dst, w.mul(f, phase[2]), w.mul(q, size)))
                ahead = w.add(f, turns)
                wraps = w.compare("sge", ahead, every[2])
                return [w.add(w.add(q, apart), w.let(f"zext i1 {wraps} to i64")), w.pick(wraps, w.sub(ahead, every[2]), ahead)]

            w.loop(0, count, 1, one, [("i64", w.div(start, every[2])), ("i64", w.rem(start, every[2]))])

        w.when(together, row, single)

    w.nest([(0, "%channels"), (first[0], behind[0]), (first[1], behind[1])], line)
    return w.function(f"internal void @{symbol}.stage(ptr %table, ptr %work, ptr noalias %dst, ptr noalias %src, i64 %src_channel, "
                      "i64 %channels) noinline")


def offsets_text(shape: Tiling, symbol: str) -> str:
    """Where each row of the patches begins in the staged image: channel by channel, tap by tap, in bytes."""
    w = ConvolutionWriter(shape)
    rows, channel, taps, dst = w.planned("rows"), w.planned("step_channel"), w.part(0), w.part(1)

    def one(at: Values) -> None:
        c, tap = at
        offset = w.add(w.mul(c, channel), w.let(f"load i64, ptr {w.at(taps, w.mul(tap, 8))}"))
        w.do(f"store i64 {offset}, ptr {w.at(dst, w.mul(w.add(w.mul(c, rows), tap), 8))}")

    w.nest([(0, "%channels"), (0, rows)], one)
    return w.function(f"internal void @{symbol}.offsets(ptr %table, ptr %work, i64 %channels) noinline")


def gather_text(shape: Tiling, symbol: str) -> str:
    """Gathers patches: `dst[r, j] = src[offsets[r] + place(start + j)]` for all rows and `count` places; dst_row in bytes.

    Runs of places that are consecutive in memory are copied a vector at a time, down all rows.
    """
    w = ConvolutionWriter(shape)
    size, lanes = shape.size, shape.lanes
    columns, step = ([w.planned(f"{name}{axis}") for axis in range(AXES)] for name in ("columns", "step"))
    plane = w.mul(columns[1], columns[2])

    def down(at: str, target: str, move: Callable[[str, str], None]) -> None:
        def row(r: str, carried: Values) -> Values:
            offset = w.let(f"load i64, ptr {w.at('%offsets', w.mul(r, 8))}")
            move(w.at(at, offset), carried[0])
            return [w.at(carried[0], "%dst_row")]

        w.loop(0, "%rows", 1, row, [("ptr", target)])

    def run(j: str) -> str:
        place = w.add("%start", j)
        across = w.rem(place, plane)
        i2 = w.rem(across, columns[2])
        length = w.least(w.sub(columns[2], i2), w.sub("%count", j))
        src = w.at("%src", w.mul(w.div(place, plane), step[0]), w.mul(w.div(across, columns[2]), step[1]), w.mul(i2, size))
        dst = w.at("%dst", w.mul(j, size))
        whole = w.down(length, lanes)

        def vector(v: str, _: Values) -> None:
            at = w.mul(v, size)
            down(w.at(src, at), w.at(dst, at), lambda a, b: w.store(w.load(a), b))

        w.loop(0, whole, lanes, vector)
        at = w.mul(whole, size)
        if shape.masked:
            mask = w.mask(w.first_lanes(w.sub(length, whole)))
            w.when(w.compare("slt", whole, length), lambda: down(
                w.at(src, at), w.at(dst, at), lambda a, b: w.masked_store(w.masked_load(a, mask), b, mask)))
        else:

            def rest(k: str, _: Values) -> None:
                here = w.mul(k, size)
                down(w.at(src, here), w.at(dst, here), w.copy)

            w.loop(whole, length, 1, rest)
        return w.add(j, length)

    w.advance(0, "%count", run)
    return w.function(f"internal void @{symbol}.gather(ptr %work, ptr noalias %offsets, i64 %rows, ptr noalias %src, i64 %start, "
                      "i64 %count, ptr noalias %dst, i64 %dst_row) noinline")
