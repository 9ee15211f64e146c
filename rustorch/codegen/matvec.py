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
_GROUPS = 4
"""Groups of columns that are walked side by side where columns are contiguous: their chains overlap."""


def matvec_text(shape: Tiling, symbol: str) -> str:
    """`y[n]` (+)= `x[k] @ b[k, n]` for k at least 1, strides in bytes, `work` of `SPAN` elements."""
    w = TileWriter(shape)
    size, width = shape.size, shape.lanes * shape.size
    depth = block_depth(w, shape)
    in_rows, in_columns = w.compare("eq", "%b_col", size), w.compare("eq", "%b_row", size)
    function = w.pick(in_columns, f"@{symbol}.along_columns", f"@{symbol}.chains", "ptr")
    function = w.pick(in_rows, f"@{symbol}.along_rows", function, "ptr")

    def span(j: str, _: Values) -> None:
        nc = w.least(w.sub("%n", j), SPAN)
        y = w.at("%y", w.mul(j, "%y_step"))

        def block(p: str, _: Values) -> None:
            kc = w.least(w.sub("%k", p), depth)
            w.loop(0, w.mul(nc, size), width, lambda i, _: w.store("zeroinitializer", w.at("%work", i)))
            w.do(f"call void {function}(i64 {kc}, i64 {nc}, ptr {w.at('%x', w.mul(p, '%x_step'))}, i64 %x_step, "
                 f"ptr {w.at('%b', w.mul(p, '%b_row'), w.mul(j, '%b_col'))}, i64 %b_row, i64 %b_col, ptr %work)")
            finish(y, nc, w.both(w.compare("eq", p, 0), w.compare("eq", "%accumulate", 0)))

        w.loop(0, "%k", depth, block)

    def finish(y: str, nc: str, fresh: str) -> None:
        def total(kind: str, source: str, target: str) -> None:
            new = w.let(f"load {kind}, ptr {source}, align {size}")

            def both() -> Values:
                return [w.let(f"fadd {kind} {new}, {w.let(f'load {kind}, ptr {target}, align {size}')}")]

            (result,) = w.when(fresh, lambda: [new], both, [kind])
            w.do(f"store {kind} {result}, ptr {target}, align {size}")

        whole = w.pick(w.compare("eq", "%y_step", size), w.down(nc, shape.lanes), 0)
        w.loop(0, whole, shape.lanes, lambda i, _: total(shape.vector, w.at("%work", w.mul(i, size)), w.at(y, w.mul(i, size))))
        w.loop(whole, nc, 1, lambda i, _: total(shape.scalar, w.at("%work", w.mul(i, size)), w.at(y, w.mul(i, "%y_step"))))

    w.loop(0, "%n", SPAN, span)
    product = w.function(f"internal void @{symbol}.matvec(i64 %k, i64 %n, ptr %x, i64 %x_step, ptr %b, i64 %b_row, i64 %b_col, "
                         "ptr %y, i64 %y_step, i64 %accumulate, ptr %work) noinline")
    return "\n".join([_along_rows(shape, symbol), _along_columns(shape, symbol), _chains(shape, symbol), product])


_ARGUMENTS = "i64 %k, i64 %n, ptr noalias %x, i64 %x_step, ptr noalias %b, i64 %b_row, i64 %b_col, ptr noalias %sums"
"""Parameters of the three ways to continue the chains in `sums` by one block of k."""


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

        def vector(j: str, mask: str | None = None) -> None:
            sums = w.at("%sums", j)
            total = w.load(sums)
            for value, line in zip(left, lines, strict=True):
                right = w.at(line, j)
                total = w.multiply_add(value, w.masked_load(right, mask) if mask else w.load(right), total)
            w.store(total, sums)

        w.loop(0, whole, width, lambda j, _: vector(j))
        if shape.masked:
            lanes = w.div(w.sub(length, whole), shape.size)
            w.when(w.compare("sgt", lanes, 0), lambda: vector(whole, w.mask(w.first_lanes(lanes))))

    blocks = w.down("%k", _DEPTH)
    w.loop(0, blocks, _DEPTH, lambda p, _: rows(_DEPTH, p))
    w.loop(blocks, "%k", 1, lambda p, _: rows(1, p))
    if not shape.masked:
        w.do(f"call void @{symbol}.chains(i64 %k, i64 {w.sub('%n', w.div(whole, shape.size))}, ptr %x, i64 %x_step, "
             f"ptr {w.at('%b', whole)}, i64 %b_row, i64 %b_col, ptr {w.at('%sums', whole)})")
    return w.function(f"internal void @{symbol}.along_rows({_ARGUMENTS}) noinline")


def _along_columns(shape: Tiling, symbol: str) -> str:
    """Columns of B contiguous: squares of 16 bytes by 16 bytes are transposed in registers.

    A group of columns advances by a cache line of k at a time, so that a line is used up before columns that share its place in the
    cache (powers of two apart) push it out.
    """
    square, size = shape.square, shape.size
    lanes = min(shape.lanes, 32 // size)
    w = TileWriter(replace(shape, lanes=lanes))
    whole_k, whole_n = w.down("%k", square), w.down("%n", lanes)
    line = 64 // size
    twice = w.add("%b_col", "%b_col")

    def step(p: str, bases: Values, total: str) -> str:
        """The sums of a group after one square of rows."""
        offset = w.mul(p, size)
        columns = [w.at(bases[c // 3], (0, "%b_col", twice)[c % 3], offset) for c in range(lanes)]
        rows = []
        for first in range(square):
            pieces = [w.let(f"load <{square} x {shape.scalar}>, ptr {column}, align {size}") for column in columns[first::square]]
            rows.append(w.concatenate(pieces))
        x = w.at("%x", w.mul(p, "%x_step"))
        for right in w.transpose(rows):
            total = w.multiply_add(w.splat(x), right, total)
            x = w.at(x, "%x_step")
        return total

    def groups(first: str, _: Values) -> None:
        stop = w.least(w.add(first, _GROUPS * lanes), whole_n)

        def lines(start: str, _: Values) -> None:
            end = w.least(w.add(start, line), whole_k)

            def group(j: str, _: Values) -> None:
                b, sums = w.at("%b", w.mul(j, "%b_col")), w.at("%sums", w.mul(j, size))
                bases = [w.let(f"freeze ptr {w.at(b, w.mul('%b_col', c))}") for c in range(0, lanes, 3)]
                carry = [(w.shape.vector, w.load(sums))]
                (total,) = w.loop(start, end, square, lambda p, carried: [step(p, bases, carried[0])], carry, once=True)
                w.store(total, sums)

            w.loop(first, stop, lanes, group)

        w.loop(0, whole_k, line, lines)

    w.loop(0, whole_n, _GROUPS * lanes, groups)

    def rest(k: str, n: str, p: str, j: str) -> None:
        w.do(f"call void @{symbol}.chains(i64 {k}, i64 {n}, ptr {w.at('%x', w.mul(p, '%x_step'))}, i64 %x_step, "
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
        columns = [w.at("%b", w.mul(place, "%b_col")) for place in places]
        sums = [w.at("%sums", w.mul(place, shape.size)) for place in places]

        def turn(_: str, carried: Values) -> Values:
            x, offset, *totals = carried
            left = w.load(x)
            following = [w.multiply_add(left, w.load(w.at(column, offset)), total) for column, total in zip(columns, totals, strict=True)]
            return [w.at(x, "%x_step"), w.add(offset, "%b_row"), *following]

        carry = [("ptr", "%x"), ("i64", "0"), *((w.shape.vector, w.load(place)) for place in sums)]
        _, _, *totals = w.loop(0, "%k", 1, turn, carry)
        for place, total in zip(sums, totals, strict=True):
            w.store(total, place)

    w.loop(0, "%n", 4, group)
    return w.function(f"internal void @{symbol}.chains({_ARGUMENTS}) noinline")
