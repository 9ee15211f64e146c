"""Matrix products as LLVM text: sizes and strides at run time, compiled once per element type and level.

The meaning of an element of `a @ b`, at every size, layout and place in the matrix: k is cut into `ceil(k / 384)` blocks of equal
length (the last may be shorter); each block is one chain of fused multiply-adds over increasing k from zero (multiply, then add, at
level v2, which has no fused instruction); block sums are added in order to the first, or to the old element when accumulating. So
the bits of an element depend on its row of a, its column of b and the level alone: a product of some rows and columns is those rows
and columns of the product, and a caller may cut m and n among threads as it likes, each with a workspace of its own.

Around the register tiles of `microkernel` stand the usual three blocks (Goto and van de Geijn, "Anatomy of High-Performance Matrix
Multiplication", ACM TOMS 34 (2008) 12): columns by `block_n`, k by `block_k`, rows by `block_m`. Panels of B and blocks of A are
copied to the workspace only where that pays or where the tiles cannot read them in place.
"""

from __future__ import annotations

from dataclasses import replace

from rustorch.codegen.matvec import SPAN, matvec_text
from rustorch.codegen.microkernel import TileWriter, Tiling, Values, Writer, block_depth, declarations, tile_text, tiling
from rustorch.codegen.target import Target

GEMM_ARGUMENTS = ("i64 %m, i64 %n, i64 %k, ptr %a, i64 %a_row, i64 %a_col, ptr %b, i64 %b_row, i64 %b_col, "
                  "ptr %c, i64 %c_row, i64 %accumulate, ptr %work")
"""Parameters of a product and of the functions that share its signature."""

_INTEGERS = ("i32", "i64")
_PAD = 64
"""Bytes added between copied rows, so that rows do not fall into one set of the cache."""
_CHUNK = 256
"""Rows of a narrow product that are computed at a time as columns of its transpose."""


def gemm_symbol(dtype: str, target: Target) -> str:
    """The name of the product of `dtype` at the target's level, such as `rt_gemm_f32_v4`."""
    return f"rt_gemm_{dtype}_{target.level}"


def gemm_declaration(dtype: str, target: Target) -> str:
    """LLVM text that declares the product for callers in another module."""
    kinds = ", ".join(argument.split()[0] for argument in GEMM_ARGUMENTS.split(", "))
    return f"declare void @{gemm_symbol(dtype, target)}({kinds})"


def gemm_work_bytes(m: int, n: int, k: int, dtype: str, target: Target) -> int:
    """Workspace of a product, in bytes. It never decreases in m, n or k and stays below 2 MiB, so bounds on sizes will do."""
    if dtype in _INTEGERS:
        return 0
    shape = tiling(dtype, target)
    transposed = _blocks_bytes(min(n, shape.columns), min(m, _CHUNK), k, shape)
    return _blocks_offset(shape) + max(_blocks_bytes(m, n, k, shape), transposed)


def _blocks_bytes(m: int, n: int, k: int, shape: Tiling) -> int:
    """Panels of B and a copied block of A."""
    depth, rows, columns = min(k, shape.block_k), min(m, shape.block_m), min(n, shape.block_n)
    panels = -(-columns // shape.columns) * shape.columns * depth * shape.size
    by_rows, by_columns = (-(-length // shape.columns) * shape.columns * shape.size + _PAD for length in (depth, rows))
    block = max(rows * by_rows, depth * by_columns)
    return _lines(panels) + block


def _lines(size: int) -> int:
    """`size` rounded up to cache lines."""
    return -(-size // 64) * 64


def _chunk_row(shape: Tiling) -> int:
    """Bytes between the rows of a transposed narrow product."""
    return _CHUNK * shape.size + _PAD


def scratch_bytes(shape: Tiling) -> int:
    """One register tile, through which unmasked levels write edges."""
    return shape.rows[0] * shape.columns * shape.size


def _blocks_offset(shape: Tiling) -> int:
    """Workspace before the blocks: the scratch tile, then a transposed narrow product or one block's sums of a vector product."""
    return scratch_bytes(shape) + max(shape.columns * _chunk_row(shape), SPAN * shape.size)


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
    parts = [declarations(shape), *tiles, _copy_text(shape, symbol), _transpose_text(shape, symbol), _pack_text(shape, symbol),
             _strip_text(shape, symbol), _blocks_text(shape, symbol), matvec_text(shape, symbol), _driver_text(shape, symbol)]
    if not shape.masked:
        parts.append(_spill_text(shape, symbol))
    return "\n".join(parts)


def _copy_text(shape: Tiling, symbol: str) -> str:
    """Copies a matrix of contiguous rows, two vectors of columns (a panel) at a time; strides in bytes.

    Row i of panel p goes to `dst + p * dst_panel + i * dst_row`, with zeros past the last column: those lanes of B are never stored to
    C, but must not slow the tiles down as denormals would.
    """
    w = TileWriter(shape)
    lanes, width = shape.lanes, shape.lanes * shape.size

    def panel(j: str, carried: Values) -> Values:
        src, dst, valid = w.at("%src", w.mul(j, shape.size)), carried[0], w.sub("%columns", j)
        if shape.masked:
            rows(src, dst, [w.mask(w.first_lanes(w.sub(valid, v * lanes))) for v in range(2)])
        else:
            w.when(w.compare("slt", valid, shape.columns), lambda: edge(src, dst, valid), lambda: rows(src, dst, []))
        return [w.at(dst, "%dst_panel")]

    def rows(src: str, dst: str, masks: Values) -> None:
        def row(i: str, _: Values) -> None:
            source, target = w.at(src, w.mul(i, "%src_row")), w.at(dst, w.mul(i, "%dst_row"))
            for v in range(2):
                piece = w.at(source, v * width)
                w.store(w.masked_load(piece, masks[v]) if masks else w.load(piece), w.at(target, v * width))

        w.loop(0, "%rows", 1, row)

    def edge(src: str, dst: str, valid: str) -> None:
        def row(i: str, _: Values) -> None:
            target = w.at(dst, w.mul(i, "%dst_row"))
            for v in range(2):
                w.store("zeroinitializer", w.at(target, v * width))

        w.loop(0, "%rows", 1, row)
        w.do(f"call void @{symbol}.transpose(i64 {valid}, i64 %rows, ptr {src}, i64 {shape.size}, i64 %src_row, ptr {dst}, i64 %dst_row)")

    w.loop(0, "%columns", shape.columns, panel, [("ptr", "%dst")])
    return w.function(f"internal void @{symbol}.copy(i64 %rows, i64 %columns, ptr noalias %src, i64 %src_row, "
                      "ptr noalias %dst, i64 %dst_row, i64 %dst_panel) noinline")


def _transpose_text(shape: Tiling, symbol: str) -> str:
    """`dst[j, i] = src[i, j]`, `dst` with contiguous rows, strides in bytes.

    Where the rows of `src` are contiguous too, by squares of 16-byte vectors, the last of which overlap the ones before.
    """
    square, size = shape.square, shape.size
    w = TileWriter(replace(shape, lanes=square))

    def squares() -> None:
        last_row, last_column = w.sub("%rows", square), w.sub("%columns", square)

        def band(i: str, _: Values) -> None:
            i = w.least(i, last_row)
            src, dst = w.at("%src", w.mul(i, "%src_row")), w.at("%dst", w.mul(i, size))

            def one(j: str, _: Values) -> None:
                j = w.least(j, last_column)
                source, target = w.at(src, w.mul(j, size)), w.at(dst, w.mul(j, "%dst_row"))
                lines = []
                for _r in range(square):
                    lines.append(w.load(source))
                    source = w.at(source, "%src_row")
                for line in w.transpose(lines):
                    w.store(line, target)
                    target = w.at(target, "%dst_row")

            w.loop(0, "%columns", square, one)

        w.loop(0, "%rows", square, band)

    def elements() -> None:
        def row(i: str, _: Values) -> None:
            src, dst = w.at("%src", w.mul(i, "%src_row")), w.at("%dst", w.mul(i, size))

            def one(j: str, _: Values) -> None:
                value = w.let(f"load {shape.scalar}, ptr {w.at(src, w.mul(j, '%src_col'))}")
                w.do(f"store {shape.scalar} {value}, ptr {w.at(dst, w.mul(j, '%dst_row'))}")

            w.loop(0, "%columns", 1, one)

        w.loop(0, "%rows", 1, row)

    fits = w.compare("sge", w.least("%rows", "%columns"), square)
    w.when(w.both(fits, w.compare("eq", "%src_col", size)), squares, elements)
    return w.function(f"internal void @{symbol}.transpose(i64 %rows, i64 %columns, ptr noalias %src, i64 %src_row, i64 %src_col, "
                      "ptr noalias %dst, i64 %dst_row) noinline")


def _pack_text(shape: Tiling, symbol: str) -> str:
    """Copies `b[k, columns]` into panels of two vectors of columns, each panel k rows, zeros past the last column; strides in bytes."""
    w = TileWriter(shape)
    size, width = shape.size, shape.lanes * shape.size
    panel_bytes = w.mul("%k", 2 * width)

    def panel(j: str, carried: Values) -> Values:
        dst, valid = carried[0], w.least(w.sub("%columns", j), shape.columns)
        w.when(w.compare("slt", valid, shape.columns), lambda: clear(dst))
        w.do(f"call void @{symbol}.transpose(i64 {valid}, i64 %k, ptr {w.at('%src', w.mul(j, '%col'))}, i64 %col, i64 %row, "
             f"ptr {dst}, i64 {2 * width})")
        return [w.at(dst, panel_bytes)]

    def clear(dst: str) -> None:
        w.loop(0, panel_bytes, width, lambda i, _: w.store("zeroinitializer", w.at(dst, i)))

    copy = f"call void @{symbol}.copy(i64 %k, i64 %columns, ptr %src, i64 %row, ptr %dst, i64 {2 * width}, i64 {panel_bytes})"
    w.when(w.compare("eq", "%col", size), lambda: w.do(copy),
           lambda: w.loop(0, "%columns", shape.columns, panel, [("ptr", "%dst")]) and None)
    return w.function(f"internal void @{symbol}.pack(i64 %k, i64 %columns, ptr noalias %src, i64 %row, i64 %col, "
                      "ptr noalias %dst)", control=True)


def _strip_text(shape: Tiling, symbol: str) -> str:
    """All rows of one panel, by register tiles from the tallest to the last row. Strides in bytes; `columns` are those that C has."""
    w = TileWriter(shape)
    wide = w.compare("sgt", "%columns", shape.lanes)
    filled = w.pick(wide, shape.columns, shape.lanes)
    last = w.first_lanes(w.sub("%columns", w.sub(filled, shape.lanes)))
    edge = w.compare("slt", "%columns", filled)
    tiles = [w.pick(wide, f"@{symbol}.tile{rows}x2", f"@{symbol}.tile{rows}x1", "ptr") for rows in shape.rows]

    def step(i: str) -> str:
        left = w.sub("%m", i)
        # An odd last row is computed twice, as both rows of the lowest tile.
        odd = w.compare("eq", left, 1)
        count, function = w.least(left, shape.rows[-1]), tiles[-1]
        for rows, tile in zip(shape.rows[-2::-1], tiles[-2::-1], strict=True):
            fits = w.compare("sge", left, rows)
            count, function = w.pick(fits, rows, count), w.pick(fits, tile, function, "ptr")
        a_row, c_row = w.pick(odd, 0, "%a_row"), w.pick(odd, 0, "%c_row")
        a, c = w.at("%a", w.mul(i, "%a_row")), w.at("%c", w.mul(i, "%c_row"))

        def call(target: str, target_row: str, old: str) -> None:
            w.do(f"call void {function}(i64 %k, ptr {a}, i64 {a_row}, i64 %a_col, ptr %b, i64 %b_row, "
                 f"ptr {target}, i64 {target_row}, i32 {old}, i32 {last})")

        def through_scratch() -> None:
            call("%scratch", str(shape.columns * shape.size), "0")
            w.do(f"call void @{symbol}.spill(i64 {count}, i64 %columns, ptr %scratch, ptr {c}, i64 %c_row, i32 %old)")

        if shape.masked:
            call(c, c_row, "%old")
        else:
            w.when(edge, through_scratch, lambda: call(c, c_row, "%old"))
        return w.add(i, count)

    w.advance(0, "%m", step)
    return w.function(f"internal void @{symbol}.strip(i64 %m, i64 %columns, i64 %k, ptr %a, i64 %a_row, i64 %a_col, ptr %b, i64 %b_row, "
                      "ptr %c, i64 %c_row, i32 %old, ptr %scratch)", control=True)


def _spill_text(shape: Tiling, symbol: str) -> str:
    """Adds the valid columns of a scratch tile to C, or overwrites them."""
    w = TileWriter(shape)
    adding = w.let("icmp ne i32 %old, 0")

    def row(i: str, _: Values) -> None:
        src, dst = w.at("%src", w.mul(i, shape.columns * shape.size)), w.at("%c", w.mul(i, "%c_row"))

        def column(j: str, _: Values) -> None:
            offset = w.mul(j, shape.size)
            target = w.at(dst, offset)
            value = w.let(f"load {shape.scalar}, ptr {w.at(src, offset)}")

            def total() -> Values:
                return [w.let(f"fadd {shape.scalar} {value}, {w.let(f'load {shape.scalar}, ptr {target}')}")]

            (result,) = w.when(adding, total, lambda: [value], [shape.scalar])
            w.do(f"store {shape.scalar} {result}, ptr {target}")

        w.loop(0, "%columns", 1, column)

    w.loop(0, "%rows", 1, row)
    return w.function(f"internal void @{symbol}.spill(i64 %rows, i64 %columns, ptr noalias %src, ptr noalias %c, i64 %c_row, "
                      "i32 %old) noinline")


def _blocks_text(shape: Tiling, symbol: str) -> str:
    """The product by blocks of columns, of k and of rows around the strips; strides in bytes, k at least 1."""
    w = TileWriter(shape)
    size = shape.size
    depth = block_depth(w, shape)
    panels_at = w.at("%work", _blocks_offset(shape))
    by_rows = w.compare("eq", "%b_col", size)
    few_rows, some_rows = (w.compare("sle", "%m", count * shape.rows[0]) for count in (2, 12))

    def columns(jc: str, _: Values) -> None:
        nc = w.least(w.sub("%n", jc), shape.block_n)
        # Panels that are read by few rows of A, or that stay near in the cache, are not worth a copy; a partial one always is.
        small = w.compare("sle", w.mul(nc, depth), shape.block_bytes // 2 // size)
        in_place = w.both(by_rows, w.either(few_rows, w.both(some_rows, small)))
        whole = w.down(nc, shape.columns)
        copied_from = w.pick(in_place, whole, 0)
        copied = w.sub(nc, copied_from)

        def block(p: str, _: Values) -> None:
            kc = w.least(w.sub("%k", p), depth)
            fresh = w.both(w.compare("eq", p, 0), w.compare("eq", "%accumulate", 0))
            old = w.pick(fresh, 0, -1, "i32")
            b = w.at("%b", w.mul(p, "%b_row"), w.mul(jc, "%b_col"))
            w.do(f"call void @{symbol}.pack(i64 {kc}, i64 {copied}, ptr {w.at(b, w.mul(copied_from, '%b_col'))}, "
                 f"i64 %b_row, i64 %b_col, ptr {panels_at})")
            filled = w.down(w.add(copied, shape.columns - 1), shape.columns)
            block_at = w.at(panels_at, w.let(f"and i64 {w.add(w.mul(w.mul(filled, kc), size), 63)}, -64"))

            def rows(ic: str, _: Values) -> None:
                mc = w.least(w.sub("%m", ic), shape.block_m)
                a, row, col = _block_of_a(w, symbol, w.at("%a", w.mul(ic, "%a_row"), w.mul(p, "%a_col")), mc, kc, nc, block_at)
                c = w.at("%c", w.mul(ic, "%c_row"), w.mul(jc, size))

                def panel(j: str, _: Values) -> None:
                    is_copy = w.compare("sge", j, copied_from)
                    copy = w.at(panels_at, w.mul(w.mul(w.sub(j, copied_from), kc), size))
                    panel_at = w.pick(is_copy, copy, w.at(b, w.mul(j, size)), "ptr")
                    panel_row = w.pick(is_copy, shape.columns * size, "%b_row")
                    w.do(f"call void @{symbol}.strip(i64 {mc}, i64 {w.least(w.sub(nc, j), shape.columns)}, i64 {kc}, "
                         f"ptr {a}, i64 {row}, i64 {col}, ptr {panel_at}, i64 {panel_row}, "
                         f"ptr {w.at(c, w.mul(j, size))}, i64 %c_row, i32 {old}, ptr %work)")

                w.loop(0, nc, shape.columns, panel)

            w.loop(0, "%m", shape.block_m, rows)

        w.loop(0, "%k", depth, block)

    w.loop(0, "%n", shape.block_n, columns)
    return w.function(f"internal void @{symbol}.blocks({GEMM_ARGUMENTS})", control=True)


def _driver_text(shape: Tiling, symbol: str) -> str:
    """The exported product: strides to bytes, then the way that suits the shape."""
    w = TileWriter(shape)
    size, lanes = shape.size, shape.lanes
    a_row, a_col, b_row, b_col, c_row = (w.mul(f"%{name}", size) for name in ("a_row", "a_col", "b_row", "b_col", "c_row"))

    def zeros() -> None:
        def row(i: str, _: Values) -> None:
            c = w.at("%c", w.mul(i, c_row))
            w.loop(0, "%n", 1, lambda j, _: w.do(f"store {shape.scalar} 0.0, ptr {w.at(c, w.mul(j, size))}"))

        w.when(w.compare("eq", "%accumulate", 0), lambda: w.loop(0, "%m", 1, row) and None)

    def vector() -> None:
        def pick(x: str | int, y: str, kind: str = "i64") -> str:
            return w.pick(one_row, x, y, kind)

        w.do(f"call void @{symbol}.matvec(i64 %k, i64 {pick('%n', '%m')}, ptr {pick('%a', '%b', 'ptr')}, i64 {pick(a_col, b_row)}, "
             f"ptr {pick('%b', '%a', 'ptr')}, i64 {pick(b_row, a_col)}, i64 {pick(b_col, a_row)}, "
             f"ptr %c, i64 {pick(size, c_row)}, i64 %accumulate, ptr {w.at('%work', scratch_bytes(shape))})")

    def matrix() -> None:
        # Vector products per step of k with vectors along n, and with vectors along m, where A may have to be transposed as well.
        along_n = w.mul("%m", vectors("%n"))
        in_columns = w.compare("eq", a_row, size)
        moves = w.pick(in_columns, 0, w.div(w.mul("%m", size), 8))
        along_m = w.add(w.mul("%n", vectors("%m")), moves)
        unit = w.either(in_columns, w.compare("eq", a_col, size))
        narrow = w.both(w.compare("sle", "%n", shape.columns), w.both(unit, w.compare("slt", along_m, along_n)))
        w.when(narrow, transposed, lambda: w.do(
            f"call void @{symbol}.blocks(i64 %m, i64 %n, i64 %k, ptr %a, i64 {a_row}, i64 {a_col}, ptr %b, i64 {b_row}, i64 {b_col}, "
            f"ptr %c, i64 {c_row}, i64 %accumulate, ptr %work)"))

    def vectors(count: str) -> str:
        return w.div(w.add(count, lanes - 1), lanes)

    def transposed() -> None:
        d, d_row = w.at("%work", scratch_bytes(shape)), _chunk_row(shape)

        def chunk(i: str, _: Values) -> None:
            count = w.least(w.sub("%m", i), _CHUNK)
            c = w.at("%c", w.mul(i, c_row))
            w.when(w.compare("ne", "%accumulate", 0), lambda: w.do(
                f"call void @{symbol}.transpose(i64 {count}, i64 %n, ptr {c}, i64 {c_row}, i64 {size}, ptr {d}, i64 {d_row})"))
            w.do(f"call void @{symbol}.blocks(i64 %n, i64 {count}, i64 %k, ptr %b, i64 {b_col}, i64 {b_row}, "
                 f"ptr {w.at('%a', w.mul(i, a_row))}, i64 {a_col}, i64 {a_row}, ptr {d}, i64 {d_row}, i64 %accumulate, ptr %work)")
            w.do(f"call void @{symbol}.transpose(i64 %n, i64 {count}, ptr {d}, i64 {d_row}, i64 {size}, ptr {c}, i64 {c_row})")

        w.loop(0, "%m", _CHUNK, chunk)

    one_row = w.compare("eq", "%m", 1)
    one = w.either(one_row, w.compare("eq", "%n", 1))
    w.when(w.compare("sle", "%k", 0), zeros, lambda: w.when(one, vector, matrix) and None)
    return w.function(f"void @{symbol}({GEMM_ARGUMENTS})", control=True)


def _block_of_a(w: TileWriter, symbol: str, a: str, mc: str, kc: str, nc: str, copy_at: str) -> Values:
    """Where the tiles read a block of A, and its strides in bytes: in place, or a copy with well spread rows.

    A copy pays when many panels read the block again: its rows may lie a multiple of the page apart, all in one set of the cache.
    """
    size, row, col = w.shape.size, "%a_row", "%a_col"
    panel = w.shape.columns * size
    many = w.compare("sgt", nc, 4 * w.shape.columns)
    by_rows, by_columns = w.compare("eq", col, size), w.compare("eq", row, size)
    pays = w.both(many, w.either(by_rows, by_columns))

    def copy() -> Values:
        count, length, source_row = w.pick(by_rows, mc, kc), w.pick(by_rows, kc, mc), w.pick(by_rows, row, col)
        stride = w.add(w.down(w.add(w.mul(length, size), panel - 1), panel), _PAD)
        w.do(f"call void @{symbol}.copy(i64 {count}, i64 {length}, ptr {a}, i64 {source_row}, ptr {copy_at}, i64 {stride}, i64 {panel})")
        return [copy_at, w.pick(by_rows, stride, size), w.pick(by_rows, size, stride)]

    return w.when(pays, copy, lambda: [a, row, col], ["ptr", "i64", "i64"])


def _integer_text(symbol: str, bits: int, target: Target) -> str:
    """Wrapping products of integers: a vector of columns at a time where B's rows are contiguous, one element otherwise."""
    w = Writer()
    size, lanes = bits // 8, target.lanes(bits)
    kind, vector = f"i{bits}", f"<{lanes} x i{bits}>"
    a_row, a_col, b_row, b_col, c_row = (w.mul(f"%{name}", size) for name in ("a_row", "a_col", "b_row", "b_col", "c_row"))
    vectors = w.pick(w.compare("eq", "%b_col", 1), w.down("%n", lanes), 0)
    fresh = w.compare("eq", "%accumulate", 0)

    def row(i: str, _: Values) -> None:
        a, c = w.at("%a", w.mul(i, a_row)), w.at("%c", w.mul(i, c_row))

        def columns(j: str, of: str) -> None:
            b, target = w.at("%b", w.mul(j, b_col)), w.at(c, w.mul(j, size))

            def turn(p: str, carried: Values) -> Values:
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

