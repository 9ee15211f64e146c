"""Convolutions as LLVM text: the register tiles of `products` over patches that are gathered a panel at a time.

Compiled once per element type and level; all sizes, strides and steps are read at run time from a table of 64-bit numbers
(`FIELDS`). No matrix of all patches is ever in memory. Each image is first staged in the workspace
(see `patches`), unless it can be read where it is.

Two orders of loops serve the two layouts of results (`features_first`, see `rustorch/ops/convolution.py`):

- images: `y[n, g]` is the matrix `w[g]` [features, channels · taps] times the patches [channels · taps, places], which are
  gathered as one panel of two vectors of places and 384 rows of the sum: it stays near while all features use it. Images with
  few places share panels, so that these are full.
- kernels: few places, a long sum over images and the kernel's elements. `y[g]` is [features, images' channels · places], its
  transpose the patches [channels · places, elements] times the kernel's [elements, features], block by block.

The meaning of an element is that of a product (see `products`): the sum in blocks of at most 384 terms, each a chain of fused
multiply-adds, added in order. It depends on the element's own terms and the level alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import fields as fields_of
from typing import Any

from rustorch.codegen.loops import Share
from rustorch.codegen.microkernel import Tiling, Values, block_depth, tiling
from rustorch.codegen.patches import AXES, FIELDS, ConvolutionWriter, gather_text, offsets_text, plan_text, row_text, stage_text
from rustorch.codegen.products import gemm_symbol, scratch_bytes
from rustorch.codegen.schedule import TASK_CYCLES
from rustorch.codegen.target import Target
from rustorch.codegen.views import tensor
from rustorch.ir.dims import Size, product
from rustorch.ir.graph import Node

_TABLE = 512
"""Bytes of the plan in the workspace."""
_FEW_PANELS = 4
"""Images with fewer panels of places share them."""
_JOINT = 8 << 20
_PAD = 64
"""Bytes added between gathered rows, so that rows do not fall into one set of the cache."""


def conv_symbol(dtype: str, target: Target) -> str:
    """The name of the convolution of `dtype` at the target's level, such as `rt_conv_f32_v4`."""
    return f"rt_conv_{dtype}_{target.level}"


def conv_declaration(dtype: str, target: Target) -> str:
    """LLVM text that declares the convolution for callers in another module."""
    return f"declare void @{conv_symbol(dtype, target)}(i64, ptr, ptr, ptr, ptr, ptr)"


@dataclass(frozen=True)
class Work:
    """The parts of a convolution's workspace in bytes, in order."""

    taps: Size
    rows: Size
    staged: Size
    patches: Size
    panels: Size
    sums: Size
    scratch: int

    @property
    def total(self) -> Size:
        """All bytes."""
        return _TABLE + self.taps + self.rows + self.staged + self.patches + self.panels + self.sums + self.scratch

    @property
    def starts(self) -> tuple[Size, ...]:
        """Where each part begins."""
        starts: list[Size] = [_TABLE]
        for part in (self.taps, self.rows, self.staged, self.patches, self.panels, self.sums):
            starts.append(starts[-1] + part)
        return tuple(starts)


def _lines(size: Size) -> Size:
    """Bytes rounded up to cache lines, with one to spare for what a vector reads behind the last element."""
    return (size + 127) // 64 * 64


def _along(fields: dict[str, Size], name: str) -> tuple[Size, ...]:
    """A field of each axis."""
    return tuple(fields[f"{name}{axis}"] for axis in range(AXES))


def block_channels(batch: Size, taps: Size, places: Size, dtype: str, target: Target) -> int:
    """How many of the images' channels a block of a kernel's gradient has: its patches fill half of the second cache."""
    shape = tiling(dtype, target)
    length = min(places, shape.block_k) if isinstance(places, int) else shape.block_k
    rows = 2 * shape.block_bytes // _row_bytes(length, shape)
    fitting = max(1, rows // taps) if isinstance(taps, int) else 1
    return min(fitting, max(batch, 1)) if isinstance(batch, int) else fitting


def joint_images(fields: dict[str, Size], dtype: str, target: Target) -> int:
    """How many images with few places share panels, so that these are full: some panels' worth, all of them where the kernel is
    larger than the cache and so better read once, and no more than `_JOINT` bytes of the workspace; 1 otherwise."""
    shape = tiling(dtype, target)
    batch, channels, features = fields["batch"], fields["channels"], fields["features"]
    places, taps, size = (product(_along(fields, name)) for name in ("places", "taps", "size"))
    if not all(isinstance(n, int) for n in (batch, channels, features, places, taps, size)):
        return 1
    assert isinstance(batch, int) and isinstance(channels, int) and isinstance(features, int)
    assert isinstance(places, int) and isinstance(taps, int) and isinstance(size, int)
    if places >= _FEW_PANELS * shape.columns or places % shape.columns == 0:
        return 1
    large = features * channels * taps * shape.size > 2 * shape.block_bytes
    wanted = batch if large else -(-2 * _FEW_PANELS * shape.columns // places)
    fitting = _JOINT // max(1, shape.size * (2 * channels * size + features * places))
    return max(1, min(batch, wanted, fitting))


def _row_bytes(length: int, shape: Tiling) -> int:
    return -(-length * shape.size // 64) * 64 + _PAD


def conv_fields(node: Node, image: Sequence[Size], kernel: Sequence[Size], target: Target) -> dict[str, Size]:
    """The table of a `conv_general` whose image has strides `image` and whose kernel has strides `kernel` (group … tap), by name."""
    (batch, groups, channels, *size), (_, features, _, *taps) = (tensor(v).shape for v in node.operands)
    places = tensor(node.result).shape[3:]
    attrs: Any = node.attrs
    missing = AXES - len(size)

    def filled(values: Sequence[Size], value: Size) -> tuple[Size, ...]:
        return (value,) * missing + tuple(values)

    block: Size = 1
    if attrs["features_first"]:
        block = block_channels(batch, product(places), product(tuple(taps)), tensor(node.result).dtype.short, target)
    space = (filled(size, 1), filled(taps, 1), filled(places, 1), filled(attrs["stride"], 1), filled(attrs["dilation"], 1),
             filled(attrs["low"], 0), filled(attrs["spread"], 1))  # fmt: skip
    steps = (*image[:3], *filled(image[3:], 0), *kernel)
    numbers = (batch, groups, channels, features, *(n for axes in space for n in axes), *steps, block, 1, batch)
    fields = dict(zip(FIELDS, numbers, strict=True))
    if not attrs["features_first"]:
        fields["joint"] = joint_images(fields, tensor(node.result).dtype.short, target)
    return fields


def conv_work(fields: dict[str, Size], features_first: bool, dtype: str, target: Target) -> Work:
    """The workspace of a convolution with these fields."""
    shape = tiling(dtype, target)
    taps, places, tap_steps, steps = (_along(fields, name) for name in ("taps", "places", "dilation", "stride"))
    if features_first:
        taps, places, tap_steps, steps = places, taps, steps, tap_steps
    staged: Size = shape.size
    for count, tap_step, many, step in zip(taps, tap_steps, places, steps, strict=True):
        staged = staged * (((many - 1) * step + (count - 1) * tap_step) // step + 1) * step
    number = product(taps)
    if not features_first:
        channels, panel, joint = fields["channels"], shape.block_k * shape.columns * shape.size, fields["joint"]
        sums = _lines(fields["features"] * product(places) * joint * shape.size) if joint != 1 else 0
        images = _lines(staged * channels * joint)
        return Work(_lines(number * 8), _lines(number * channels * 8), images, panel, 0, sums, scratch_bytes(shape))
    block, features = fields["block"], fields["features"]
    padded = (features + (shape.columns - 1)) // shape.columns * shape.columns
    return Work(
        _lines(number * 8),
        _lines(number * block * 8),
        _lines(staged * block),
        _lines(number * block * _row_bytes(shape.block_k, shape)),
        _lines(padded * shape.block_k * shape.size),
        _lines(number * block * padded * shape.size),
        scratch_bytes(shape),
    )


CONVOLUTION_CALLS = 8
"""Calls at once that share a convolution; each has a workspace."""
SHARED_KINDS = ("ptr", "ptr", "ptr", "ptr", "ptr")
"""Of a shared convolution: table, image, kernel, result, workspace."""


def share_convolution(fields: dict[str, Size], target: Target, dtype: str) -> Share | None:
    """How calls share a convolution: a unit is an element of the batch. Not where it is little work, or where sizes are unknown."""
    factors = tuple(fields[name] for name in ("batch", "groups", "channels", "features"))
    total = product((*factors, *_along(fields, "taps"), *_along(fields, "places")))
    if not isinstance(total, int):
        return None
    cycles = total // (2 * target.lanes(int(dtype[1:])))
    return Share(fields["batch"], cycles, CONVOLUTION_CALLS).bounded() if cycles >= 2 * TASK_CYCLES and fields["batch"] != 1 else None


def shared_convolution_text(symbol: str, dtype: str, features_first: bool, target: Target) -> str:
    """`symbol(table, x, w, y, work, first, limit)`: the convolution of the batch from `first` to before `limit`."""
    size = tiling(dtype, target).size
    count = len(FIELDS) + len(fields_of(Work))
    w = ConvolutionWriter(tiling(dtype, target))
    own = w.let(f"alloca [{count} x i64], align 8")

    def copy(i: str, _: Values) -> None:
        at = w.mul(i, 8)
        value = w.let(f"load i64, ptr {w.at('%table', at)}")
        w.do(f"store i64 {value}, ptr {w.at(own, at)}")

    x_batch, features, groups = w.read("x_batch", "features", "groups")
    places = w.product(w.along("places"))
    w.loop(0, count, 1, copy)
    w.do(f"store i64 {w.sub('%limit', '%first')}, ptr {w.at(own, 8 * FIELDS.index('batch'))}")
    x = w.at("%x", w.mul(w.mul("%first", x_batch), size))
    step = places if features_first else w.product([places, features, groups])
    y = w.at("%y", w.mul(w.mul("%first", step), size))
    w.do(f"call void @{conv_symbol(dtype, target)}(i64 {int(features_first)}, ptr {own}, ptr {x}, ptr %w, ptr {y}, ptr %work)")
    return w.function(f"internal void @{symbol}({_ARGUMENTS}, i64 %first, i64 %limit) noinline")


def conv_text(dtype: str, target: Target) -> str:
    """LLVM text that defines `conv_symbol(dtype, target)`, for a module that has `gemm_text(dtype, target)` as well:

        void @rt_conv_f32_v4(i64 features_first, ptr table, ptr x, ptr w, ptr y, ptr work)

    `table` holds the `FIELDS` and behind them the starts of the parts of the workspace (`Work.starts`). x may have any strides; each
    kernel w[g, o] must be one stride over its channels and taps (over its taps, with `features_first`); y is row-major.
    """
    shape = tiling(dtype, target)
    symbol, gemm = conv_symbol(dtype, target), gemm_symbol(dtype, target)
    parts = (
        plan_text(shape, symbol), row_text(shape, symbol), stage_text(shape, symbol), offsets_text(shape, symbol),
        gather_text(shape, symbol), _images_text(shape, symbol, gemm), _joint_text(shape, symbol, gemm),
        _kernels_text(shape, symbol, gemm), _entry_text(shape, symbol),
    )  # fmt: skip
    return "\n".join(parts)


_ARGUMENTS = "ptr %table, ptr %x, ptr %w, ptr %y, ptr %work"


def _images_text(shape: Tiling, symbol: str, gemm: str) -> str:
    """Result [batch, groups, features, places]: for each image, panels of two vectors of places."""
    w = ConvolutionWriter(shape)
    size, panel_row = shape.size, shape.columns * shape.size
    batch, groups, channels, features = w.read("batch", "groups", "channels", "features")
    x_batch, x_group, x_channel, w_group, w_feature, w_tap = w.strides("x_batch", "x_group", "x_channel", "w_group", "w_feature", "w_tap")
    places = w.product(w.along("places"))
    rows, channel = w.planned("rows"), w.planned("step_channel")
    is_staged = w.compare("eq", w.planned("direct"), 0)
    offsets, staged, panel, scratch = (w.part(number) for number in (1, 2, 3, 6))
    total = w.mul(channels, rows)
    depth = block_depth(w, shape, w.most(total, 1))
    matrix = w.mul(w.mul(features, total), size)
    # A kernel that does not stay in the second cache is read once for all images, which are then staged block by block.
    many = w.compare("sgt", matrix, 2 * shape.block_bytes)
    group_size = w.most(w.pick(many, batch, 1), 1)
    y_row = w.mul(places, size)
    y_image = w.mul(y_row, features)
    w.do(f"call void @{symbol}.offsets(ptr %table, ptr %work, i64 {channels})")
    w.do(f"call void @{symbol}.clear(ptr {panel}, i64 {shape.block_k * panel_row})")
    w.when(is_staged, lambda: w.do(f"call void @{symbol}.clear(ptr {staged}, i64 {w.mul(channel, channels)})"))
    w.when(w.compare("eq", total, 0), lambda: w.do(
        f"call void @{symbol}.clear_all(ptr %y, i64 {w.mul(w.mul(y_image, groups), batch)})"))

    def images(g: str, first: str) -> None:
        last = w.least(batch, w.add(first, group_size))

        def block(k: str, _: Values) -> None:
            kc = w.least(w.sub(total, k), depth)
            old = w.pick(w.compare("eq", k, 0), 0, -1, "i32")
            low = w.pick(many, w.div(k, rows), 0)
            # All channels at the first block where one image is done at a time, else those of the block.
            high = w.pick(many, w.up(w.add(k, kc), rows), w.pick(w.compare("eq", k, 0), channels, 0))
            weights = w.at("%w", w.mul(g, w_group), w.mul(k, w_tap))

            def image(n: str, _: Values) -> None:
                here = w.at("%x", w.mul(n, x_batch), w.mul(g, x_group))
                w.when(is_staged, lambda: w.do(
                    f"call void @{symbol}.stage(ptr %table, ptr %work, ptr {w.at(staged, w.mul(low, channel))}, "
                    f"ptr {w.at(here, w.mul(low, x_channel))}, i64 {x_channel}, i64 {w.sub(high, low)})"))
                source = w.pick(is_staged, staged, here, "ptr")
                result = w.at("%y", w.mul(w.add(w.mul(n, groups), g), y_image))

                def places_of(j: str, _: Values) -> None:
                    columns = w.least(w.sub(places, j), shape.columns)
                    w.do(f"call void @{symbol}.gather(ptr %work, ptr {w.at(offsets, w.mul(k, 8))}, i64 {kc}, ptr {source}, i64 {j}, "
                         f"i64 {columns}, ptr {panel}, i64 {panel_row})")
                    w.do(f"call void @{gemm}.strip(i64 {features}, i64 {columns}, i64 {kc}, ptr {weights}, i64 {w_feature}, i64 {w_tap}, "
                         f"ptr {panel}, i64 {panel_row}, ptr {w.at(result, w.mul(j, size))}, i64 {y_row}, i32 {old}, ptr {scratch})")

                w.loop(0, places, shape.columns, places_of)

            w.loop(first, last, 1, image)

        w.loop(0, total, depth, block)

    w.loop(0, groups, 1, lambda g, _: w.loop(0, batch, group_size, lambda n, __: images(g, n)) and None)
    return w.function(f"internal void @{symbol}.images({_ARGUMENTS})", control=True)


def _joint_text(shape: Tiling, symbol: str, gemm: str) -> str:
    """As `images`, for images with few places: those of `joint` images stand side by side in panels and in the sums."""
    w = ConvolutionWriter(shape)
    size, panel_row = shape.size, shape.columns * shape.size
    batch, groups, channels, features, joint = w.read("batch", "groups", "channels", "features", "joint")
    x_batch, x_group, x_channel, w_group, w_feature, w_tap = w.strides("x_batch", "x_group", "x_channel", "w_group", "w_feature", "w_tap")
    places = w.product(w.along("places"))
    rows, channel = w.planned("rows"), w.planned("step_channel")
    is_staged = w.compare("eq", w.planned("direct"), 0)
    offsets, staged, panel, sums, scratch = (w.part(number) for number in (1, 2, 3, 5, 6))
    total = w.mul(channels, rows)
    depth = block_depth(w, shape, w.most(total, 1))
    image_bytes = w.mul(channel, channels)
    y_row = w.mul(places, size)
    y_image = w.mul(y_row, features)
    w.do(f"call void @{symbol}.offsets(ptr %table, ptr %work, i64 {channels})")
    w.do(f"call void @{symbol}.clear(ptr {panel}, i64 {shape.block_k * panel_row})")
    w.when(is_staged, lambda: w.do(f"call void @{symbol}.clear(ptr {staged}, i64 {w.mul(image_bytes, joint)})"))
    w.when(w.compare("eq", total, 0), lambda: w.do(
        f"call void @{symbol}.clear_all(ptr %y, i64 {w.mul(w.mul(y_image, groups), batch)})"))

    def images(g: str, first: str) -> None:
        count = w.least(joint, w.sub(batch, first))
        columns = w.mul(count, places)
        sums_row = w.mul(columns, size)
        here = w.at("%x", w.mul(first, x_batch), w.mul(g, x_group))

        def block(k: str, _: Values) -> None:
            kc = w.least(w.sub(total, k), depth)
            old = w.pick(w.compare("eq", k, 0), 0, -1, "i32")
            low, high = w.div(k, rows), w.up(w.add(k, kc), rows)
            weights = w.at("%w", w.mul(g, w_group), w.mul(k, w_tap))

            def stage(n: str, _: Values) -> None:
                source = w.at(here, w.mul(n, x_batch), w.mul(low, x_channel))
                target, many = w.at(staged, w.mul(n, image_bytes), w.mul(low, channel)), w.sub(high, low)
                w.do(f"call void @{symbol}.stage(ptr %table, ptr %work, ptr {target}, ptr {source}, i64 {x_channel}, i64 {many})")

            w.when(is_staged, lambda: w.loop(0, count, 1, stage) and None)

            def panel_of(j: str, _: Values) -> None:
                wide = w.least(w.sub(columns, j), shape.columns)

                def part(c: str) -> str:
                    at = w.add(j, c)
                    n, start = w.div(at, places), w.rem(at, places)
                    length = w.least(w.sub(places, start), w.sub(wide, c))
                    source = w.pick(is_staged, w.at(staged, w.mul(n, image_bytes)), w.at(here, w.mul(n, x_batch)), "ptr")
                    w.do(f"call void @{symbol}.gather(ptr %work, ptr {w.at(offsets, w.mul(k, 8))}, i64 {kc}, ptr {source}, i64 {start}, "
                         f"i64 {length}, ptr {w.at(panel, w.mul(c, size))}, i64 {panel_row})")
                    return w.add(c, length)

                w.advance(0, wide, part)
                w.do(f"call void @{gemm}.strip(i64 {features}, i64 {wide}, i64 {kc}, ptr {weights}, i64 {w_feature}, i64 {w_tap}, "
                     f"ptr {panel}, i64 {panel_row}, ptr {w.at(sums, w.mul(j, size))}, i64 {sums_row}, i32 {old}, ptr {scratch})")

            w.loop(0, columns, shape.columns, panel_of)

        w.loop(0, total, depth, block)

        def write(at: Values) -> None:
            n, o = at
            source = w.at(sums, w.mul(o, sums_row), w.mul(n, y_row))
            target = w.at("%y", w.mul(w.add(w.mul(w.add(first, n), groups), g), y_image), w.mul(o, y_row))
            w.do(f"call void @{symbol}.row(ptr {target}, ptr {source}, i64 {places})")

        w.nest([(0, w.pick(w.compare("sgt", total, 0), count, 0)), (0, features)], write)

    w.loop(0, groups, 1, lambda g, _: w.loop(0, batch, joint, lambda n, __: images(g, n)) and None)
    return w.function(f"internal void @{symbol}.joint({_ARGUMENTS})", control=True)


def _kernels_text(shape: Tiling, symbol: str, gemm: str) -> str:
    """Result [groups, features, batch, places]: blocks of the images' channels, each summed over images and places in turn.

    Of the op's operands, `batch` counts the channels of the images and `channels` the images: the roles in a kernel's gradient.
    """
    w = ConvolutionWriter(shape)
    size = shape.size
    batch, groups, channels, features, most, whole_batch = w.read("batch", "groups", "channels", "features", "block", "whole_batch")
    x_batch, x_group, x_channel = w.strides("x_batch", "x_group", "x_channel")
    w_group, w_feature, w_channel, w_tap = w.strides("w_group", "w_feature", "w_channel", "w_tap")
    length = w.product(w.along("taps"))
    rows, channel = w.planned("rows"), w.planned("step_channel")
    is_staged = w.compare("eq", w.planned("direct"), 0)
    offsets, staged, patches, panels, sums, scratch = (w.part(number) for number in (1, 2, 3, 4, 5, 6))
    depth = block_depth(w, shape, w.most(length, 1))
    row = w.add(w.down(w.add(w.mul(depth, size), 63), 64), _PAD)
    sums_row = w.mul(w.down(w.add(features, shape.columns - 1), shape.columns), size)
    y_row = w.mul(w.mul(whole_batch, rows), size)
    y_group = w.mul(y_row, features)
    w.do(f"call void @{symbol}.offsets(ptr %table, ptr %work, i64 {w.least(most, batch)})")
    w.when(is_staged, lambda: w.do(
        f"call void @{symbol}.clear(ptr {staged}, i64 {w.mul(channel, w.least(most, batch))})"))

    def block(g: str, c: str) -> None:
        count = w.least(most, w.sub(batch, c))
        m = w.mul(count, rows)

        def image(n: str, _: Values) -> None:
            here = w.at("%x", w.mul(c, x_batch), w.mul(g, x_group), w.mul(n, x_channel))
            kernel = w.at("%w", w.mul(g, w_group), w.mul(n, w_channel))
            w.when(is_staged, lambda: w.do(
                f"call void @{symbol}.stage(ptr %table, ptr %work, ptr {staged}, ptr {here}, i64 {x_batch}, i64 {count})"))
            source = w.pick(is_staged, staged, here, "ptr")

            def part(k: str, _: Values) -> None:
                kc = w.least(w.sub(length, k), depth)
                old = w.pick(w.both(w.compare("eq", k, 0), w.compare("eq", n, 0)), 0, -1, "i32")
                w.do(f"call void @{symbol}.gather(ptr %work, ptr {offsets}, i64 {m}, ptr {source}, i64 {k}, i64 {kc}, "
                     f"ptr {patches}, i64 {row})")
                w.do(f"call void @{gemm}.pack(i64 {kc}, i64 {features}, ptr {w.at(kernel, w.mul(k, w_tap))}, i64 {w_tap}, "
                     f"i64 {w_feature}, ptr {panels})")

                def columns(j: str, _: Values) -> None:
                    w.do(f"call void @{gemm}.strip(i64 {m}, i64 {w.least(w.sub(features, j), shape.columns)}, i64 {kc}, "
                         f"ptr {patches}, i64 {row}, i64 {size}, ptr {w.at(panels, w.mul(w.mul(j, kc), size))}, "
                         f"i64 {shape.columns * size}, ptr {w.at(sums, w.mul(j, size))}, i64 {sums_row}, i32 {old}, ptr {scratch})")

                w.loop(0, features, shape.columns, columns)

            w.loop(0, length, depth, part)

        w.loop(0, channels, 1, image)
        result = w.at("%y", w.mul(g, y_group), w.mul(w.mul(c, rows), size))
        w.when(w.compare("eq", w.mul(channels, length), 0), lambda: w.do(
            f"call void @{symbol}.clear(ptr {sums}, i64 {w.mul(m, sums_row)})"))
        w.do(f"call void @{gemm}.transpose(i64 {m}, i64 {features}, ptr {sums}, i64 {sums_row}, i64 {size}, ptr {result}, i64 {y_row})")

    w.loop(0, groups, 1, lambda g, _: w.loop(0, batch, most, lambda c, __: block(g, c)) and None)
    return w.function(f"internal void @{symbol}.kernels({_ARGUMENTS})", control=True)


def _entry_text(shape: Tiling, symbol: str) -> str:
    """The exported convolution, and the clearing of a result whose sums have no terms."""
    w = ConvolutionWriter(shape)
    few = w.compare("sgt", w["joint"], 1)
    w.do(f"call void @{symbol}.plan(ptr %table, ptr %work, i64 %features_first)")
    w.when(w.compare("eq", "%features_first", 0),
           lambda: w.when(few, lambda: w.do(f"call void @{symbol}.joint(ptr %table, ptr %x, ptr %w, ptr %y, ptr %work)"),
                          lambda: w.do(f"call void @{symbol}.images(ptr %table, ptr %x, ptr %w, ptr %y, ptr %work)")) and None,
           lambda: w.do(f"call void @{symbol}.kernels(ptr %table, ptr %x, ptr %w, ptr %y, ptr %work)"))
    z = ConvolutionWriter(shape)
    z.loop(0, "%bytes", shape.size, lambda i, _: z.do(f"store {shape.scalar} 0.0, ptr {z.at('%dst', i)}"))
    clear = z.function(f"internal void @{symbol}.clear_all(ptr %dst, i64 %bytes) noinline")
    return clear + "\n" + w.function(f"void @{symbol}(i64 %features_first, {_ARGUMENTS})", control=True)
