"""Sorting as LLVM text: by digits of keys, and by insertion where rows are short. Stable; no comparison depends on Python.

Each element becomes a key, an unsigned number of the same order: the sign bit of an integer is turned; of a float it is turned
if it was clear, all bits are if it was set; zeros share a key, NaNs the largest. Turning all bits of the key sorts downwards and
keeps equal elements in order. Long rows are then sorted by eight bits at a time from the lowest on, counting first where each
digit's elements go (radix sort: Knuth, TAOCP 3, 5.2.5, algorithm R); a digit that all keys share is skipped.
"""

from __future__ import annotations

from rustorch.codegen.emit_llvm import llvm_type
from rustorch.codegen.microkernel import Values, Writer
from rustorch.ir.dims import Size
from rustorch.ir.types import DType

_SHORT = 48
"""Up to so many elements of the order are found by insertion."""
_DIGITS = 256


def _key_bits(dtype: DType) -> int:
    return 64 if dtype.bits == 64 else 32


def sort_work_bytes(count: Size, dtype: DType) -> Size:
    """Workspace of a row: the counts of digits, then keys and places twice."""
    return _key_bits(dtype) // 8 * _DIGITS * 8 + 64 + count * (2 * _key_bits(dtype) // 8 + 16)


class _Sorter(Writer):
    """Writes the function for one element type and direction."""

    def __init__(self, dtype: DType, descending: bool) -> None:
        super().__init__()
        self.dtype, self.descending = dtype, descending
        self.scalar, self.size = llvm_type(dtype, in_memory=True), dtype.itemsize
        self.bits = _key_bits(dtype)
        self.kind, self.key_size = f"i{self.bits}", self.bits // 8

    def key(self, x: str) -> str:
        """The key of an element."""
        kind = self.kind
        if self.dtype.is_floating_point:
            nan = self.let(f"fcmp uno {self.scalar} {x}, {x}")
            plain = self.let(f"fadd {self.scalar} {x}, 0.0")  # -0 + 0 is +0
            word = self.let(f"bitcast {self.scalar} {plain} to {kind}")
            spread = self.let(f"ashr {kind} {word}, {self.bits - 1}")
            turned = self.let(f"or {kind} {spread}, {-(1 << (self.bits - 1))}")
            found = self.let(f"xor {kind} {word}, {turned}")
            found = self.pick(nan, -1, found, kind)
        elif self.dtype.kind == "bool":
            found = self.let(f"zext {self.scalar} {x} to {kind}")
        else:
            found = self.let(f"xor {kind} {x}, {-(1 << (self.bits - 1))}")
        return self.let(f"xor {kind} {found}, -1") if self.descending else found

    def get(self, kind: str, array: str, i: str, size: int) -> str:
        """An element of an array."""
        return self.let(f"load {kind}, ptr {self.at(array, self.mul(i, size))}")

    def put(self, kind: str, value: str, array: str, i: str, size: int) -> None:
        """Store an element of an array."""
        self.do(f"store {kind} {value}, ptr {self.at(array, self.mul(i, size))}")

    def digit(self, key: str, number: int) -> str:
        """Eight bits of a key, as an index."""
        low = self.let(f"and {self.kind} {self.let(f'lshr {self.kind} {key}, {8 * number}')}, {_DIGITS - 1}")
        return low if self.bits == 64 else self.let(f"zext {self.kind} {low} to i64")

    def sink(self, keys: str, places: str, i: str) -> None:
        """Move element i forward past all larger ones before it."""
        self.count += 1
        n = self.count
        key, place = self.get(self.kind, keys, i, self.key_size), self.get("i64", places, i, 8)
        before = self.block
        self.do(f"br label %look{n}")
        self.label(f"look{n}")
        phi = len(self.lines)
        self.do(f"br i1 {self.compare('sgt', f'%j{n}', 0)}, label %test{n}, label %found{n}")
        self.label(f"test{n}")
        left = self.sub(f"%j{n}", 1)
        other = self.get(self.kind, keys, left, self.key_size)
        self.do(f"br i1 {self.let(f'icmp ugt {self.kind} {other}, {key}')}, label %move{n}, label %found{n}")
        self.label(f"move{n}")
        self.put(self.kind, other, keys, f"%j{n}", self.key_size)
        self.put("i64", self.get("i64", places, left, 8), places, f"%j{n}", 8)
        self.do(f"br label %look{n}")
        self.lines.insert(phi, f"  %j{n} = phi i64 [{i}, %{before}], [{left}, %move{n}]")
        self.label(f"found{n}")
        self.put(self.kind, key, keys, f"%j{n}", self.key_size)
        self.put("i64", place, places, f"%j{n}", 8)

    def passes(self, counts: str, arrays: Values) -> Values:
        """Sort by each digit; gives keys and places, then those of the other buffer."""
        n = "%n"

        def counted(i: str, _: Values) -> None:
            key = self.get(self.kind, arrays[0], i, self.key_size)
            for number in range(self.bits // 8):
                at = self.at(counts, number * _DIGITS * 8, self.mul(self.digit(key, number), 8))
                self.do(f"store i64 {self.add(self.let(f'load i64, ptr {at}'), 1)}, ptr {at}")

        self.loop(0, self.bits // 8 * _DIGITS, 1, lambda i, _: self.put("i64", "0", counts, i, 8))
        self.loop(0, n, 1, counted)
        for number in range(self.bits // 8):
            arrays = self.by_digit(self.at(counts, number * _DIGITS * 8), number, arrays)
        return arrays

    def by_digit(self, counts: str, number: int, arrays: Values) -> Values:
        """One pass, unless all keys share the digit."""
        keys, places, other_keys, other_places = arrays
        first = self.digit(self.get(self.kind, keys, "0", self.key_size), number)
        shared = self.compare("eq", self.get("i64", counts, first, 8), "%n")

        def move() -> Values:
            def start(d: str, carried: Values) -> Values:
                count = self.get("i64", counts, d, 8)
                self.put("i64", carried[0], counts, d, 8)
                return [self.add(carried[0], count)]

            def one(i: str, _: Values) -> None:
                key = self.get(self.kind, keys, i, self.key_size)
                at = self.at(counts, self.mul(self.digit(key, number), 8))
                target = self.let(f"load i64, ptr {at}")
                self.do(f"store i64 {self.add(target, 1)}, ptr {at}")
                self.put(self.kind, key, other_keys, target, self.key_size)
                self.put("i64", self.get("i64", places, i, 8), other_places, target, 8)

            self.loop(0, _DIGITS, 1, start, [("i64", "0")])
            self.loop(0, "%n", 1, one)
            return [other_keys, other_places, keys, places]

        return self.when(shared, lambda: arrays, move, ["ptr"] * 4)


def sort_text(symbol: str, dtype: DType, descending: bool) -> str:
    """LLVM text that sorts rows of an array x[outer, n, inner] along n and keeps the first of each:

        void @symbol(i64 outer, i64 n, i64 inner, i64 count, ptr x, ptr values, ptr places, ptr work)

    Values and i64 places have the layout [outer, count, inner]. `work` is 64-byte aligned and has `sort_work_bytes`.
    """
    w = _Sorter(dtype, descending)
    counts = "%work"
    keys = w.at(counts, w.bits // 8 * _DIGITS * 8)
    other_keys = w.at(keys, w.mul("%n", w.key_size))
    places = w.at(keys, w.down(w.add(w.mul("%n", 2 * w.key_size), 63), 64))
    other_places = w.at(places, w.mul("%n", 8))
    arrays = [keys, places, other_keys, other_places]
    step = w.mul("%inner", w.size)

    def row(o: str, i: str) -> None:
        x = w.at("%x", w.mul(w.add(w.mul(w.mul(o, "%n"), "%inner"), i), w.size))
        target = w.add(w.mul(w.mul(o, "%count"), "%inner"), i)
        values, found = w.at("%values", w.mul(target, w.size)), w.at("%places", w.mul(target, 8))

        def key(k: str) -> str:
            return w.key(w.let(f"load {w.scalar}, ptr {w.at(x, w.mul(k, step))}"))

        def read(k: str, _: Values) -> None:
            w.put(w.kind, key(k), keys, k, w.key_size)
            w.put("i64", k, places, k, 8)

        def insertion() -> Values:
            """The first of all seen so far, in order: a later element takes the last place if it comes before the one there."""
            last = w.sub("%count", 1)
            w.loop(0, "%count", 1, read)
            w.loop(1, "%count", 1, lambda k, _: w.sink(keys, places, k))

            def later(k: str, _: Values) -> None:
                own = key(k)

                def enter() -> None:
                    w.put(w.kind, own, keys, last, w.key_size)
                    w.put("i64", k, places, last, 8)
                    w.sink(keys, places, last)

                w.when(w.let(f"icmp ult {w.kind} {own}, {w.get(w.kind, keys, last, w.key_size)}"), enter)

            w.loop("%count", "%n", 1, later)
            return [places]

        def digits() -> Values:
            w.loop(0, "%n", 1, read)
            return [w.passes(counts, arrays)[1]]

        (order,) = w.when(w.compare("sle", "%count", _SHORT), insertion, digits, ["ptr"])

        def write(k: str, _: Values) -> None:
            place = w.get("i64", order, k, 8)
            w.put("i64", place, found, w.mul(k, "%inner"), 8)
            value = w.let(f"load {w.scalar}, ptr {w.at(x, w.mul(place, step))}")
            w.do(f"store {w.scalar} {value}, ptr {w.at(values, w.mul(k, step))}")

        w.loop(0, "%count", 1, write)

    def rows(o: str, _: Values) -> None:
        w.loop(0, "%inner", 1, lambda i, __: row(o, i))

    w.loop(0, w.pick(w.compare("sgt", "%count", 0), "%outer", 0), 1, rows)
    head = f"internal void @{symbol}(i64 %outer, i64 %n, i64 %inner, i64 %count, ptr %x, ptr %values, ptr %places, ptr %work) noinline"
    return w.function(head)
