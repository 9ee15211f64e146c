"""Products of a vector and a matrix as LLVM text, with the same bits as the same elements of a wider product.

Each element stays one chain over a block of k, so nothing is summed across lanes: lanes are columns. Where the columns of the matrix
are contiguous, vectors along k are transposed in registers.
"""

from __future__ import annotations

from dataclasses import replace

from rustorch.codegen.microkernel import TileWriter, Tiling, Values, block_depth

SPAN = 1024
"""Columns whose sums of one block of k are kept in the workspace."""
_DEPTH = 8
"""Rows of the matrix that are added at a time where rows are contiguous."""
_VECTORS = 2
"""Vectors of columns that advance together where columns are contiguous: more hide more of an addition's latency, but more columns
that lie powers of two apart no longer fit the first cache together."""


def matvec_text(shape: Tiling, symbol: str) -> str:
    """`y[n]` (+)= `x[k] @ b[k, n]` for k at least 1, strides in bytes, `work` of `SPAN` elements."""
    w = TileWriter(shape)
    size, width = shape.size, shape.lanes * shape.size
    depth = block_depth(w, shape)
    new = w.compare("eq", "%accumulate", 0)
    way = w.pick(w.compare("eq", "%b_row", size), f"@{symbol}.along_columns", f"@{symbol}.chains", "ptr")
    way = w.pick(w.compare("eq", "%b_col", size), f"@{symbol}.along_rows", way, "ptr")

    def sums(function: str, k: str, n: str, x: str, x_col: str, b: str, b_col: str) -> None:
        w.loop(0, w.mul(n, size), width, lambda i, _: w.store("zeroinitializer", w.at("%work", i)))
        w.do(f"call void {function}(i64 {k}, i64 {n}, ptr {x}, i64 %x_step, i64 {x_col}, ptr {b}, i64 %b_row, i64 {b_col}, ptr %work)")

    def add(kind: str, source: str, target: str, fresh: str) -> None:
        total, old = (w.let(f"load {kind}, ptr {place}, align {size}") for place in (source, target))
        w.do(f"store {kind} {w.pick(fresh, total, w.let(f'fadd {kind} {total}, {old}'), kind)}, ptr {target}, align {size}")

    def columns() -> None:
        def span(j: str, _: Values) -> None:
            nc, y = w.least(w.sub("%n", j), SPAN), w.at("%y", w.mul(j, "%y_step"))
            whole = w.pick(w.compare("eq", "%y_step", size), w.down(nc, shape.lanes), 0)

            def block(p: str, _: Values) -> None:
                kc, fresh = w.least(w.sub("%k", p), depth), w.both(w.compare("eq", p, 0), new)
                x, b = w.at("%x", w.mul(p, "%x_step")), w.at("%b", w.mul(p, "%b_row"), w.mul(j, "%b_col"))
                sums(way, kc, nc, x, "0", b, "%b_col")
                w.loop(0, whole, shape.lanes, lambda i, _: add(shape.vector, w.at("%work", w.mul(i, size)), w.at(y, w.mul(i, size)), fresh))
                w.loop(whole, nc, 1, lambda i, _: add(shape.scalar, w.at("%work", w.mul(i, size)), w.at(y, w.mul(i, "%y_step")), fresh))

            w.loop(0, "%k", depth, block)

        w.loop(0, "%n", SPAN, span)

    def dot() -> None:
        """One column: blocks of k take the place of columns."""
        x_block, b_block = w.mul("%x_step", depth), w.mul("%b_row", depth)
        whole = w.div("%k", depth)

        def blocks(first: str, count: str, k: str) -> None:
            x, b = w.at("%x", w.mul(first, x_block)), w.at("%b", w.mul(first, b_block))
            sums(f"@{symbol}.chains", k, count, x, x_block, b, b_block)
            begins = w.both(w.compare("eq", first, 0), new)
            w.loop(0, count, 1, lambda i, _: add(shape.scalar, w.at("%work", w.mul(i, size)), "%y", w.both(begins, w.compare("eq", i, 0))))

        w.loop(0, whole, SPAN, lambda i, _: blocks(i, w.least(w.sub(whole, i), SPAN), depth))
        rest = w.sub("%k", w.mul(whole, depth))
        w.when(w.compare("sgt", rest, 0), lambda: blocks(whole, "1", rest))

    w.when(w.compare("eq", "%n", 1), dot, columns)
    product = w.function(f"internal void @{symbol}.matvec(i64 %k, i64 %n, ptr %x, i64 %x_step, ptr %b, i64 %b_row, i64 %b_col, "
                         "ptr %y, i64 %y_step, i64 %accumulate, ptr %work)", control=True)
    return "\n".join([_along_rows(shape, symbol), _along_columns(shape, symbol), _chains(shape, symbol), product])


_ARGUMENTS = "i64 %k, i64 %n, ptr noalias %x, i64 %x_step, i64 %x_col, ptr noalias %b, i64 %b_row, i64 %b_col, ptr noalias %sums"
"""Parameters of the three ways to continue the chains in `sums` by one block of k. `x_col` is 0 but in `chains` for a dot product."""


def _along_rows(shape: Tiling, symbol: str) -> str:
    """Rows of B contiguous: the sums of all columns are read and written once for every few rows of B."""
    w = TileWriter(shape)
    width = shape.lanes * shape.size
    length = w.mul("%n", shape.size)
    whole = w.down(length, width)

    def rows(count: int, p: str) -> None:
        x, b = w.at("%x", w.mul(p, "%x_step")), w.at("%b", w.mul(p, "%b_row"))
        left, lines = [], []
        for _ in range(count):
            left.append(w.splat(x))
            lines.append(b)
            x, b = w.at(x, "%x_step"), w.at(b, "%b_row")

        def vector(j: str, _: Values) -> None:
            sums = w.at("%sums", j)
            mask = w.mask(w.first_lanes(w.div(w.sub(length, j), shape.size))) if shape.masked else None
            total = w.load(sums)
            for value, line in zip(left, lines, strict=True):
                right = w.at(line, j)
                total = w.multiply_add(value, w.masked_load(right, mask) if mask else w.load(right), total)
            w.store(total, sums)

        w.loop(0, length if shape.masked else whole, width, vector)

    blocks = w.down("%k", _DEPTH)
    w.loop(0, blocks, _DEPTH, lambda p, _: rows(_DEPTH, p))
    w.loop(blocks, "%k", 1, lambda p, _: rows(1, p))
    if not shape.masked:
        w.do(f"call void @{symbol}.chains(i64 %k, i64 {w.sub('%n', w.div(whole, shape.size))}, ptr %x, i64 %x_step, i64 0, "
             f"ptr {w.at('%b', whole)}, i64 %b_row, i64 %b_col, ptr {w.at('%sums', whole)})")
    return w.function(f"internal void @{symbol}.along_rows({_ARGUMENTS}) noinline")


def _along_columns(shape: Tiling, symbol: str) -> str:
    """Columns of B contiguous: squares of 16 bytes by 16 bytes are transposed in registers."""
    square, size = shape.square, shape.size
    lanes = min(shape.lanes, 32 // size)
    w = TileWriter(replace(shape, lanes=lanes))
    columns = _VECTORS * lanes
    whole_k, whole_n = w.down("%k", square), w.down("%n", columns)
    twice = w.add("%b_col", "%b_col")

    def step(_: str, carried: Values) -> Values:
        """A square of every column of the group."""
        x, bases, sums = carried[0], carried[1:-_VECTORS], carried[-_VECTORS:]
        right: list[Values] = []
        for v in range(_VECTORS):
            pointers = [w.at(bases[c // 3], (0, "%b_col", twice)[c % 3]) for c in range(v * lanes, (v + 1) * lanes)]
            pieces = [[w.let(f"load <{square} x {shape.scalar}>, ptr {pointer}, align {size}") for pointer in pointers[first::square]]
                      for first in range(square)]
            right.append(w.transpose([w.concatenate(row) for row in pieces]))
        for r in range(square):
            left = w.splat(x)
            sums = [w.multiply_add(left, right[v][r], sums[v]) for v in range(_VECTORS)]
            x = w.at(x, "%x_step")
        return [x, *(w.opaque(w.at(base, 16)) for base in bases), *sums]

    def group(j: str, _: Values) -> None:
        # Three columns share a base pointer, as rows do in `microkernel.tile_text`.
        b, sums = w.at("%b", w.mul(j, "%b_col")), w.at("%sums", w.mul(j, size))
        places = [w.at(sums, v * lanes * size) for v in range(_VECTORS)]
        bases = [("ptr", w.opaque(w.at(b, w.mul("%b_col", c)))) for c in range(0, columns, 3)]
        carry = [("ptr", "%x"), *bases, *((w.shape.vector, w.load(place)) for place in places)]
        totals = w.loop(0, whole_k, square, step, carry)[-_VECTORS:]
        for total, place in zip(totals, places, strict=True):
            w.store(total, place)

    w.loop(0, whole_n, columns, group)

    def rest(k: str, n: str, p: str, j: str) -> None:
        w.do(f"call void @{symbol}.chains(i64 {k}, i64 {n}, ptr {w.at('%x', w.mul(p, '%x_step'))}, i64 %x_step, i64 0, "
             f"ptr {w.at('%b', w.mul(p, '%b_row'), w.mul(j, '%b_col'))}, i64 %b_row, i64 %b_col, ptr {w.at('%sums', w.mul(j, size))})")

    rest(w.sub("%k", whole_k), whole_n, whole_k, "0")
    rest("%k", w.sub("%n", whole_n), "0", whole_n)
    return w.function(f"internal void @{symbol}.along_columns({_ARGUMENTS}) noinline")


def _chains(shape: Tiling, symbol: str) -> str:
    """Any strides: four columns at a time, element by element."""
    w = TileWriter(replace(shape, lanes=1))
    last = w.sub("%n", 1)

    def group(j: str, _: Values) -> None:
        # Past the last column the last is repeated; all four sums are read before one is written.
        places = [w.least(w.add(j, c), last) for c in range(4)]
        sums = [w.at("%sums", w.mul(place, shape.size)) for place in places]
        left = [w.at("%x", w.mul(place, "%x_col")) for place in places]
        right = [w.at("%b", w.mul(place, "%b_col")) for place in places]

        def turn(_: str, carried: Values) -> Values:
            x, b, *totals = carried
            following = [w.multiply_add(w.load(w.at(xs, x)), w.load(w.at(bs, b)), total)
                         for xs, bs, total in zip(left, right, totals, strict=True)]
            return [w.add(x, "%x_step"), w.add(b, "%b_row"), *following]

        carry = [("i64", "0"), ("i64", "0"), *((w.shape.vector, w.load(place)) for place in sums)]
        totals = w.loop(0, "%k", 1, turn, carry)[2:]
        for place, total in zip(sums, totals, strict=True):
            w.store(total, place)

    w.loop(0, "%n", 4, group)
    return w.function(f"internal void @{symbol}.chains({_ARGUMENTS}) noinline")
