"""Matrix products as LLVM text: sizes and strides at run time, compiled once per element type and level.

The meaning of an element of `a @ b`, at every size, layout and place in the matrix: k is cut into `ceil(k / 256)` blocks of equal
length (the last may be shorter); each block is one chain of fused multiply-adds over increasing k from zero (multiply, then add, at
level v2, which has no fused instruction); block sums are added in order to the first, or to the old element when accumulating. So
the bits of an element depend on its row, its column and the level alone: a product of some rows and columns is those rows and
columns of the product, and a caller may cut m and n among threads as it likes.

Around the register tiles of `microkernel` stand the usual three blocks (Goto and van de Geijn, "Anatomy of High-Performance Matrix
Multiplication", ACM TOMS 34 (2008) 12): columns by `block_n`, k by `block_k`, rows by `block_m`. Panels of B and blocks of A are
copied to the workspace only where that pays or where the tiles cannot read them in place.
"""

from __future__ import annotations

from rustorch.codegen.microkernel import ATTRIBUTES, TileWriter, Tiling, Writer, declarations, tile_text, tiling
from rustorch.codegen.target import Target
from rustorch.errors import Unsupported

_INTEGERS = {"i32": 4, "i64": 8}
_PAD = 64
"""Bytes between the rows of a copied block of A, so that rows do not fall into one set of the cache."""

GEMM_ARGUMENTS = ("i64 %m, i64 %n, i64 %k, ptr %a, i64 %a_row, i64 %a_col, ptr %b, i64 %b_row, i64 %b_col, "
                  "ptr %c, i64 %c_row, i64 %accumulate, ptr %work")


def gemm_symbol(dtype: str, target: Target) -> str:
    """The name of the product of `dtype` at the target's level, such as `rt_gemm_f32_v4`."""
    return f"rt_gemm_{dtype}_{target.level}"


def gemm_work_bytes(m: int, n: int, k: int, dtype: str, target: Target) -> int:
    """Workspace of a product, in bytes; it never decreases in m, n or k and is bounded (about 1.5 MiB), so a bound on sizes will do."""
    if dtype in _INTEGERS:
        return 0
    shape = tiling(dtype, target)
    if n == 1:  # may run as the product of the transposes
        return max(_work_bytes(m, 1, k, shape), _work_bytes(1, m, k, shape))
    return _work_bytes(m, n, k, shape)


def _work_bytes(m: int, n: int, k: int, shape: Tiling) -> int:
    depth, rows, columns = min(k, shape.block_k), min(m, shape.block_m), min(n, shape.block_n)
    panels = -(-columns // shape.columns) * shape.columns * depth * shape.size
    block = max(rows * (_line(depth * shape.size) + _PAD), depth * (_line(rows * shape.size) + _PAD))
    return _scratch_bytes(shape) + _line(panels) + block


def _line(size: int) -> int:
    """`size` rounded up to cache lines."""
    return -(-size // 64) * 64


def _scratch_bytes(shape: Tiling) -> int:
    """One register tile, through which unmasked levels write edges."""
    return shape.rows[0] * shape.columns * shape.size


def gemm_text(dtype: str, target: Target) -> str:
    """LLVM text that defines `gemm_symbol(dtype, target)`, with no undefined symbol:

        void @rt_gemm_f32_v4(i64 m, i64 n, i64 k, ptr a, i64 a_row, i64 a_col, ptr b, i64 b_row, i64 b_col,
                             ptr c, i64 c_row, i64 accumulate, ptr work)

    `c[m, n] = a[m, k] @ b[k, n]`, or `+=` when `accumulate` is not 0. Strides count elements; those of a and b are arbitrary
    (transposes, broadcasts by stride 0), c has unit column stride and must not overlap a or b. Sizes may be 0: with k = 0 the
    product is zeros. `work` is 64-byte aligned and has `gemm_work_bytes`. Order of additions: see the module. Integers wrap.
    """
    symbol = gemm_symbol(dtype, target)
    if dtype in _INTEGERS:
        return _integer_text(symbol, int(dtype[1:]), target)
    shape = tiling(dtype, target)
    tiles = [tile_text(shape, f"{symbol}.tile{rows}x{vectors}", rows, vectors) for vectors in (1, 2) for rows in shape.rows]
    parts = [declarations(shape), *tiles, _copy_text(shape, symbol), _pack_text(shape, symbol),
             *(_strip_text(shape, symbol, vectors) for vectors in (1, 2)), _driver_text(shape, symbol)]
    if not shape.masked:
        parts.append(_spill_text(shape, symbol))
    return "\n".join(parts)


def _copy_text(shape: Tiling, symbol: str) -> str:
    """`dst[i, :] = src[i, :]` for rows of contiguous elements; strides in bytes."""
    w = TileWriter(shape)
    width = shape.lanes * shape.size
    columns = w.mul("%columns", shape.size)
    whole = w.mul(w.let(f"sdiv i64 %columns, {shape.lanes}"), width)

    def row(i: str, _: list[str]) -> None:
        src, dst = w.at("%src", w.mul(i, "%src_row")), w.at("%dst", w.mul(i, "%dst_row"))
        w.loop(0, whole, width, lambda j, _: w.store(w.load(w.at(src, j)), w.at(dst, j)))
        if shape.masked:
            mask = w.mask(w.first_lanes(w.sub("%columns", w.let(f"sdiv i64 {whole}, {shape.size}"))))
            w.masked_store(w.masked_load(w.at(src, whole), mask), w.at(dst, whole), mask)
        else:
            w.loop(whole, columns, shape.size, lambda j, _: _copy_one(w, w.at(src, j), w.at(dst, j)))

    w.loop(0, "%rows", 1, row)
    return w.function(f"internal void @{symbol}.copy(i64 %rows, i64 %columns, ptr noalias %src, i64 %src_row, ptr noalias %dst, i64 %dst_row) noinline")


def _copy_one(w: TileWriter, src: str, dst: str) -> None:
    scalar = w.shape.scalar
    w.do(f"store {scalar} {w.let(f'load {scalar}, ptr {src}')}, ptr {dst}")


def _pack_text(shape: Tiling, symbol: str) -> str:
    """Copies `b[k, columns]` into panels of two vectors of columns, each panel k rows of contiguous elements, zeros past the last column."""
    w = TileWriter(shape)
    size, lanes, width = shape.size, shape.lanes, shape.lanes * shape.size
    panel_row = 2 * width

    def panel(j: str, _: list[str]) -> None:
        src, dst = w.at("%src", w.mul(j, "%col")), w.at("%dst", w.mul(w.mul(j, size), "%k"))
        valid = w.least(w.sub("%columns", j), shape.columns)
        full = w.compare("eq", valid, shape.columns)
        in_rows = w.compare("eq", "%col", size)
        in_columns = w.let(f"and i1 {w.compare('eq', '%row', size)}, {w.compare('sge', '%k', lanes)}")
        if shape.masked:
            w.when(in_rows, lambda: masked(src, dst, valid), lambda: other(src, dst, valid, in_columns))
        else:
            whole = w.let(f"and i1 {in_rows}, {full}")
            w.when(whole, lambda: plain(src, dst), lambda: other(src, dst, valid, in_columns))

    def masked(src: str, dst: str, valid: str) -> None:
        masks = [w.mask(w.first_lanes(w.sub(valid, v * lanes))) for v in range(2)]

        def row(i: str, _: list[str]) -> None:
            source, target = w.at(src, w.mul(i, "%row")), w.at(dst, w.mul(i, panel_row))
            for v, mask in enumerate(masks):
                w.store(w.masked_load(w.at(source, v * width), mask), w.at(target, v * width))

        w.loop(0, "%k", 1, row)

    def plain(src: str, dst: str) -> None:
        def row(i: str, _: list[str]) -> None:
            source, target = w.at(src, w.mul(i, "%row")), w.at(dst, w.mul(i, panel_row))
            for v in range(2):
                w.store(w.load(w.at(source, v * width)), w.at(target, v * width))

        w.loop(0, "%k", 1, row)

    def other(src: str, dst: str, valid: str, in_columns: str) -> None:
        w.when(in_columns, lambda: transposed(src, dst, valid), lambda: scalars(src, dst, valid))

    def transposed(src: str, dst: str, valid: str) -> None:
        last = w.sub(valid, 1)
        final = w.sub("%k", lanes)

        def half(v: str, _: list[str]) -> None:
            first = w.mul(v, lanes)
            # Past the last column its neighbours are repeated: those lanes are never stored to C.
            starts = [w.at(src, w.mul(w.least(w.add(first, c), last), "%col")) for c in range(lanes)]
            target = w.at(dst, w.mul(v, width))

            def square(i: str, _: list[str]) -> None:
                # The last square ends at k: it may overlap the one before.
                at = w.least(i, final)
                offset = w.mul(at, size)
                rows = w.transpose([w.load(w.at(start, offset)) for start in starts])
                for r, row in enumerate(rows):
                    w.store(row, w.at(target, w.mul(w.add(at, r), panel_row)))

            w.loop(0, "%k", lanes, square)

        w.loop(0, w.let(f"select i1 {w.compare('sgt', valid, lanes)}, i64 2, i64 1"), 1, half)

    def scalars(src: str, dst: str, valid: str) -> None:
        def row(i: str, _: list[str]) -> None:
            source, target = w.at(src, w.mul(i, "%row")), w.at(dst, w.mul(i, panel_row))
            for v in range(2):
                w.store("zeroinitializer", w.at(target, v * width))
            w.loop(0, valid, 1, lambda j, _: _copy_one(w, w.at(source, w.mul(j, "%col")), w.at(target, w.mul(j, size))))

        w.loop(0, "%k", 1, row)

    w.loop(0, "%columns", shape.columns, panel)
    return w.function(f"internal void @{symbol}.pack(i64 %k, i64 %columns, ptr noalias %src, i64 %row, i64 %col, ptr noalias %dst) noinline")


def _strip_text(shape: Tiling, symbol: str, vectors: int) -> str:
    """All rows of one panel: register tiles from the tallest to the last row. Strides in bytes; `columns` are those that C has."""
    w = TileWriter(shape)
    lanes = w.sub("%columns", (vectors - 1) * shape.lanes)
    last = w.first_lanes(lanes)
    edge = w.compare("slt", "%columns", vectors * shape.lanes)

    def tile(rows: int, i: str) -> None:
        a, c = w.at("%a", w.mul(i, "%a_row")), w.at("%c", w.mul(i, "%c_row"))

        def call(target: str, target_row: str, old: str) -> None:
            w.do(f"call void @{symbol}.tile{rows}x{vectors}(i64 %k, ptr {a}, i64 %a_row, i64 %a_col, ptr %b, i64 %b_row, "
                 f"ptr {target}, i64 {target_row}, i32 {old}, i32 {last})")

        def through_scratch() -> None:
            call("%scratch", str(shape.columns * shape.size), "0")
            w.do(f"call void @{symbol}.spill(i64 {rows}, i64 %columns, ptr %scratch, ptr {c}, i64 %c_row, i32 %old)")

        if shape.masked:
            call(c, "%c_row", "%old")
        else:
            w.when(edge, through_scratch, lambda: call(c, "%c_row", "%old"))

    tallest = shape.rows[0]
    whole = w.mul(w.let(f"sdiv i64 %m, {tallest}"), tallest)
    w.loop(0, whole, tallest, lambda i, _: tile(tallest, i))
    i = whole
    for rows in shape.rows[1:]:
        here, after = i, w.add(i, rows)

        def once(here: str = here, after: str = after, rows: int = rows) -> list[str]:
            tile(rows, here)
            return [after]

        (i,) = w.when(w.compare("sle", after, "%m"), once, lambda here=here: [here], ["i64"])
    return w.function(f"internal void @{symbol}.strip{vectors}(i64 %m, i64 %columns, i64 %k, ptr %a, i64 %a_row, i64 %a_col, ptr %b, i64 %b_row, "
                      "ptr %c, i64 %c_row, i32 %old, ptr %scratch) noinline")


def _spill_text(shape: Tiling, symbol: str) -> str:
    """Adds the valid columns of a scratch tile to C, or overwrites them."""
    w = TileWriter(shape)
    adding = w.let("icmp ne i32 %old, 0")

    def row(i: str, _: list[str]) -> None:
        src, dst = w.at("%src", w.mul(i, shape.columns * shape.size)), w.at("%c", w.mul(i, "%c_row"))

        def column(j: str, _: list[str]) -> None:
            offset = w.mul(j, shape.size)
            target = w.at(dst, offset)
            value = w.let(f"load {shape.scalar}, ptr {w.at(src, offset)}")

            def total() -> list[str]:
                return [w.let(f"fadd {shape.scalar} {value}, {w.let(f'load {shape.scalar}, ptr {target}')}")]

            (result,) = w.when(adding, total, lambda: [value], [shape.scalar])
            w.do(f"store {shape.scalar} {result}, ptr {target}")

        w.loop(0, "%columns", 1, column)

    w.loop(0, "%rows", 1, row)
    return w.function(f"internal void @{symbol}.spill(i64 %rows, i64 %columns, ptr noalias %src, ptr noalias %c, i64 %c_row, i32 %old) noinline")


def _driver_text(shape: Tiling, symbol: str) -> str:
    """The exported product: blocks of columns, of k and of rows around the strips."""
    w = TileWriter(shape)
    size = shape.size
    a_row, a_col, b_row, b_col, c_row = (w.mul(f"%{name}", size) for name in ("a_row", "a_col", "b_row", "b_col", "c_row"))
    blocks = w.let(f"sdiv i64 {w.add('%k', shape.block_k - 1)}, {shape.block_k}")
    depth = w.let(f"sdiv i64 {w.sub(w.add('%k', blocks), 1)}, {w.let(f'call i64 @llvm.smax.i64(i64 {blocks}, i64 1)')}")
    panels_at = w.at("%work", _scratch_bytes(shape))
    b_in_rows = w.compare("eq", "%b_col", 1)
    few_rows = w.compare("sle", "%m", 2 * shape.rows[0])
    in_place = w.let(f"and i1 {b_in_rows}, {few_rows}")

    def columns(jc: str, _: list[str]) -> None:
        nc = w.least(w.sub("%n", jc), shape.block_n)

        def block(p: str, _: list[str]) -> None:
            kc = w.least(w.sub("%k", p), depth)
            fresh = w.let(f"and i1 {w.compare('eq', p, 0)}, {w.compare('eq', '%accumulate', 0)}")
            old = w.let(f"select i1 {fresh}, i32 0, i32 -1")
            b = w.at("%b", w.mul(p, b_row), w.mul(jc, b_col))
            # Whole panels may be read in place; the last, partial one is always copied.
            whole = w.mul(w.let(f"sdiv i64 {nc}, {shape.columns}"), shape.columns)
            packed_from = w.let(f"select i1 {in_place}, i64 {whole}, i64 0")
            packed = w.sub(nc, packed_from)
            w.do(f"call void @{symbol}.pack(i64 {kc}, i64 {packed}, ptr {w.at(b, w.mul(packed_from, b_col))}, i64 {b_row}, i64 {b_col}, ptr {panels_at})")
            packed_columns = w.mul(w.let(f"sdiv i64 {w.add(packed, shape.columns - 1)}, {shape.columns}"), shape.columns)
            block_at = w.at(panels_at, w.let(f"and i64 {w.add(w.mul(w.mul(packed_columns, kc), size), 63)}, -64"))

            def rows(ic: str, _: list[str]) -> None:
                mc = w.least(w.sub("%m", ic), shape.block_m)
                a_here = w.at("%a", w.mul(ic, a_row), w.mul(p, a_col))
                a, row, col = _block_of_a(w, symbol, a_here, mc, kc, nc, a_row, a_col, block_at)
                c = w.at("%c", w.mul(ic, c_row), w.mul(jc, size))

                def panel(j: str, _: list[str]) -> None:
                    wide = w.least(w.sub(nc, j), shape.columns)
                    copied = w.compare("sge", j, packed_from)
                    from_copy = w.at(panels_at, w.mul(w.mul(w.sub(j, packed_from), kc), size))
                    panel_at = w.let(f"select i1 {copied}, ptr {from_copy}, ptr {w.at(b, w.mul(j, size))}")
                    panel_row = w.let(f"select i1 {copied}, i64 {shape.columns * size}, i64 {b_row}")
                    arguments = (f"i64 {mc}, i64 {wide}, i64 {kc}, ptr {a}, i64 {row}, i64 {col}, ptr {panel_at}, i64 {panel_row}, "
                                 f"ptr {w.at(c, w.mul(j, size))}, i64 {c_row}, i32 {old}, ptr %work")
                    w.when(w.compare("sgt", wide, shape.lanes), lambda: w.do(f"call void @{symbol}.strip2({arguments})"),
                           lambda: w.do(f"call void @{symbol}.strip1({arguments})"))

                w.loop(0, nc, shape.columns, panel)

            w.loop(0, "%m", shape.block_m, rows)

        w.loop(0, "%k", depth, block)

    def zeros() -> None:
        w.loop(0, "%m", 1, lambda i, _: clear(w.at("%c", w.mul(i, c_row))))

    def clear(row: str) -> None:
        w.loop(0, "%n", 1, lambda j, _: w.do(f"store {shape.scalar} 0.0, ptr {w.at(row, w.mul(j, size))}"))

    empty = w.let(f"and i1 {w.compare('sle', '%k', 0)}, {w.compare('eq', '%accumulate', 0)}")
    w.when(empty, zeros, lambda: w.loop(0, "%n", shape.block_n, columns) and None)
    return w.function(f"void @{symbol}({GEMM_ARGUMENTS})")


def _block_of_a(w: TileWriter, symbol: str, a: str, mc: str, kc: str, nc: str, row: str, col: str, copy_at: str) -> list[str]:
    """Where the tiles read a block of A, and its strides in bytes: in place, or a copy with well spread rows.

    A copy pays when many panels read the block again, and when its rows lie a multiple of the page apart (one set of the cache).
    """
    size = w.shape.size
    many = w.compare("sgt", nc, 4 * w.shape.columns)
    by_rows, by_columns = w.compare("eq", col, size), w.compare("eq", row, size)
    pays = w.let(f"and i1 {many}, {w.let(f'or i1 {by_rows}, {by_columns}')}")

    def copy() -> list[str]:
        count = w.let(f"select i1 {by_rows}, i64 {mc}, i64 {kc}")
        length = w.let(f"select i1 {by_rows}, i64 {kc}, i64 {mc}")
        source_row = w.let(f"select i1 {by_rows}, i64 {row}, i64 {col}")
        stride = w.add(w.let(f"and i64 {w.add(w.mul(length, size), 63)}, -64"), _PAD)
        w.do(f"call void @{symbol}.copy(i64 {count}, i64 {length}, ptr {a}, i64 {source_row}, ptr {copy_at}, i64 {stride})")
        return [copy_at, w.let(f"select i1 {by_rows}, i64 {stride}, i64 {size}"), w.let(f"select i1 {by_rows}, i64 {size}, i64 {stride}")]

    return w.when(pays, copy, lambda: [a, row, col], ["ptr", "i64", "i64"])


def _integer_text(symbol: str, bits: int, target: Target) -> str:
    """Wrapping products of integers: a vector of columns at a time where B's rows are contiguous, one element otherwise."""
    w = Writer()
    size, lanes = bits // 8, target.lanes(bits)
    kind, vector = f"i{bits}", f"<{lanes} x i{bits}>"
    a_row, a_col, b_row, b_col, c_row = (w.mul(f"%{name}", size) for name in ("a_row", "a_col", "b_row", "b_col", "c_row"))
    vectors = w.let(f"select i1 {w.compare('eq', '%b_col', 1)}, i64 {w.mul(w.let(f'sdiv i64 %n, {lanes}'), lanes)}, i64 0")
    fresh = w.compare("eq", "%accumulate", 0)

    def row(i: str, _: list[str]) -> None:
        a, c = w.at("%a", w.mul(i, a_row)), w.at("%c", w.mul(i, c_row))

        def columns(j: str, of: str) -> None:
            b, target = w.at("%b", w.mul(j, b_col)), w.at(c, w.mul(j, size))

            def turn(p: str, carried: list[str]) -> list[str]:
                left = w.let(f"load {kind}, ptr {w.at(a, w.mul(p, a_col))}")
                if of == vector:
                    left = w.let(f"insertelement {of} poison, {kind} {left}, i32 0")
                    left = w.let(f"shufflevector {of} {left}, {of} poison, <{lanes} x i32> zeroinitializer")
                right = w.let(f"load {of}, ptr {w.at(b, w.mul(p, b_row))}, align {size}")
                return [w.let(f"add {of} {carried[0]}, {w.let(f'mul {of} {left}, {right}')}")]

            zero = "zeroinitializer" if of == vector else "0"
            (old,) = w.when(fresh, lambda: [zero], lambda: [w.let(f"load {of}, ptr {target}, align {size}")], [of])
            (total,) = w.loop(0, "%k", 1, turn, [(of, old)])
            w.do(f"store {of} {total}, ptr {target}, align {size}")

        w.loop(0, vectors, lanes, lambda j, _: columns(j, vector))
        w.loop(vectors, "%n", 1, lambda j, _: columns(j, kind))

    w.loop(0, "%m", 1, row)
    return "declare i64 @llvm.smin.i64(i64, i64)\n" + w.function(f"void @{symbol}({GEMM_ARGUMENTS})")


__all__ = ["ATTRIBUTES", "gemm_symbol", "gemm_text", "gemm_work_bytes"]
