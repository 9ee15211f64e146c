"""The first half of an entry, as LLVM text: checks of what Python gives, the addresses of its elements, the dimensions' values."""

from __future__ import annotations

from collections.abc import Mapping

from rustorch.artifact import ArgSpec, Layout, Signature, Source, TensorSlots
from rustorch.codegen.entry_text import Module
from rustorch.errors import CompilerBug, Unsupported
from rustorch.ir.dims import Atom, Dim, Size, parse_size

READABLE = 0x0101  # C-contiguous, elements aligned
FLOATS = {"f32": "float", "f64": "double"}
INTS = {"i32": "i32", "i64": "i64"}
"""Element types that a Python number becomes."""

Guards = tuple[tuple[str, str], ...]


class Inputs(Module):
    """Emits what comes before anything is allocated: where a check fails, the call goes to the block `fallback`."""

    def __init__(self, signature: Signature, layout: Layout, slots: Mapping[str, int]) -> None:
        super().__init__(layout)
        self.signature, self.offsets = signature, slots
        self.sizes: dict[str, str] = {}
        """Values of the symbolic dimensions, and of expressions over them."""
        self.unsolved: list[tuple[str, str]] = []
        """Sizes found, and the expressions that they must equal."""
        self.dims = "null"
        """The dimensions' values in a row."""
        self.by_size: dict[int, str] = {}
        """What the dict of sizes holds for each output that asks for it."""
        self.arrays: list[str] = []
        """Input arrays that are Python objects: what a kernel without the interpreter's lock must own."""
        self.readers: dict[tuple[Guards, bool], str] = {}
        """Functions that read a tensor's value."""

    def check(self, condition: str) -> None:
        """Before anything is allocated."""
        self.text.need(condition, "fallback")

    # Inputs

    def input(self, spec: ArgSpec, source: Source) -> str:
        """Check one input; the address of its elements."""
        if source.kind == "captured":
            return self.array(spec, self.value(self.object(f"captured.{source.index}"), source.guards))
        argument = self.text.load("ptr", "%args", 8 * source.index)
        if source.kind == "array":
            return self.array(spec, argument)
        if source.kind == "tensor":
            return self.array(spec, self.value(argument, source.guards, exact=True))
        self.check(self.text.same(self.text.load("ptr", argument, self.layout.type), self.object(f"type.{source.kind}")))
        return self.number(spec, source.kind, argument)

    def value(self, tensor: str, guards: Guards, *, exact: bool = False) -> str:
        """The object in a tensor's value slot; null where another slot is not as expected, or an `exact` type is another."""
        name = self.readers.setdefault((guards, exact), f"value{len(self.readers)}")
        if name not in self.functions:
            with self.define("ptr", name, "ptr %tensor") as text:
                if exact:
                    text.need(text.same(text.load("ptr", "%tensor", self.layout.type), self.object("type.tensor")), "no")
                value = text.load("ptr", "%tensor", self.offsets[self.slots.value])
                conditions = [text.there(value)]
                for slot, expected in guards:
                    conditions.append(text.same(text.load("ptr", "%tensor", self.offsets[slot]), self.object(f"object.{expected}")))
                text.put(f"ret ptr {text.let(f'select i1 {text.both(conditions)}, ptr {value}, ptr null')}")
                if exact:
                    text.label("no")
                    text.put("ret ptr null")
        return self.part("ptr", name, f"ptr {tensor}")

    def array(self, spec: ArgSpec, array: str) -> str:
        """Check an object that should be an ndarray of the input's type; the address of its elements."""
        if "array" not in self.functions:
            self.define_array()
        static = self.constant(tuple(size if isinstance(size, int) else -1 for size in spec.shape))
        words = (f"ptr {array}", f"ptr {self.object(f'dtype.{spec.dtype}')}", f"i32 {len(spec.shape)}", f"ptr {static}")
        data = self.part("ptr", "array", *words)
        self.check(self.text.there(data))
        self.arrays.append(array)
        symbolic = [(axis, size) for axis, size in enumerate(spec.shape) if isinstance(size, str)]
        if symbolic:
            self.take_sizes(symbolic, self.text.load("ptr", array, self.layout.array_sizes))
        return data

    def define_array(self) -> None:
        """The address of an exact ndarray's elements, or null. Sizes are compared with a constant, in which -1 is any size."""
        at = self.layout
        with self.define("ptr", "array", "ptr %array", "ptr %dtype", "i32 %rank", "ptr %expected") as text:
            text.need(text.there("%array"), "no")
            text.need(text.same(text.load("ptr", "%array", at.type), self.object("type.ndarray")), "no")
            flags = text.let(f"and i32 {text.load('i32', '%array', at.array_flags)}, {READABLE}")
            conditions = [
                text.same(text.load("ptr", "%array", at.array_dtype), "%dtype"),
                text.let(f"icmp eq i32 {text.load('i32', '%array', at.array_rank)}, %rank"),
                text.let(f"icmp eq i32 {flags}, {READABLE}"),
            ]
            text.need(text.both(conditions), "no")
            sizes, before = text.load("ptr", "%array", at.array_sizes), text.block
            data = text.load("ptr", "%array", at.array_data)
            text.put("br label %axes")
            text.label("axes")
            text.put(f"%axis = phi i32 [ 0, %{before} ], [ %next, %compare ]")
            text.put("%more = icmp slt i32 %axis, %rank")
            text.put("br i1 %more, label %compare, label %yes")
            text.label("compare")
            text.put("%next = add i32 %axis, 1")
            found = text.load("i64", text.let(f"getelementptr i64, ptr {sizes}, i32 %axis"))
            expected = text.load("i64", text.let("getelementptr i64, ptr %expected, i32 %axis"))
            equal, free = text.let(f"icmp eq i64 {found}, {expected}"), text.let(f"icmp slt i64 {expected}, 0")
            text.put(f"br i1 {text.let(f'or i1 {equal}, {free}')}, label %axes, label %no")
            text.label("yes")
            text.put(f"ret ptr {data}")
            text.label("no")
            text.put("ret ptr null")

    def take_sizes(self, symbolic: list[tuple[int, str]], sizes: str) -> None:
        """Compare symbolic sizes; a dimension's name alone takes the size the first time it is met."""
        text = self.text
        for axis, size in symbolic:
            found = text.load("i64", sizes, 8 * axis)
            if size in self.sizes:
                self.check(text.let(f"icmp eq i64 {found}, {self.sizes[size]}"))
            elif size in self.signature.dims:
                self.sizes[size] = found
                self.check(text.let(f"icmp sge i64 {found}, {self.signature.least}"))
            else:
                self.unsolved.append((found, size))

    def number(self, spec: ArgSpec, kind: str, number: str) -> str:
        """Convert a Python number into a cell on the stack; the cell's address."""
        text = self.text
        cell = text.alloca("i64")
        if kind == "float":
            value = text.load("double", number, self.layout.float_value)
            if spec.dtype == "f32":
                value = text.let(f"fptrunc double {value} to float")
            text.store(FLOATS[spec.dtype], value, cell)
            return cell
        overflow = text.alloca("i32")
        value = self.call("i64", "PyLong_AsLongLongAndOverflow", f"ptr {number}", f"ptr {overflow}")
        fits = [text.let(f"icmp eq i32 {text.load('i32', overflow)}, 0")]
        result = value
        if spec.dtype in FLOATS:
            result = text.let(f"sitofp i64 {value} to {FLOATS[spec.dtype]}")
        elif spec.dtype == "i32":
            result = text.let(f"trunc i64 {value} to i32")
            fits.append(text.let(f"icmp eq i64 {text.let(f'sext i32 {result} to i64')}, {value}"))
        self.check(text.both(fits))
        text.store((FLOATS | INTS)[spec.dtype], result, cell)
        return cell

    # Sizes

    def solve(self) -> None:
        """Compare the sizes that are expressions, now that every dimension has a value."""
        missing = [name for name in self.signature.dims if name not in self.sizes]
        if missing:
            raise Unsupported(f"dimension {missing[0]} stands only inside expressions: some input must have it as a size of its own")
        for found, expression in self.unsolved:
            self.check(self.text.let(f"icmp eq i64 {found}, {self.size(expression)}"))
        for expression, least in self.signature.conditions:
            self.check(self.text.let(f"icmp sge i64 {self.size(expression)}, {least}"))
        self.dims = self.on_stack("i64", [self.sizes[name] for name in self.signature.dims])
        if self.signature.by_size:
            self.look_up(self.signature.by_size)

    def look_up(self, name: str) -> None:
        """What a dict holds for these sizes. The tuple that is found cannot go before it is read: no Python code runs in between."""
        with self.define("ptr", "by_size", "ptr %sizes") as text:
            key = self.call("ptr", "PyBytes_FromStringAndSize", "ptr %sizes", f"i64 {8 * len(self.signature.dims)}")
            text.need(text.there(key), "failed")
            found = self.call("ptr", "PyDict_GetItem", f"ptr {self.object(f'object.{name}')}", f"ptr {key}")
            self.call("void", "Py_DecRef", f"ptr {key}")
            text.put(f"ret ptr {found}")
            text.label("failed")
            self.call("void", "PyErr_Clear")
            text.put("ret ptr null")
        found = self.part("ptr", "by_size", f"ptr {self.dims}")
        self.check(self.text.there(found))
        for place, result in enumerate(self.signature.results):
            if result.sized:
                self.by_size[place] = self.text.load("ptr", found, self.layout.tuple_items + 8 * place)

    def size(self, size: int | str) -> str:
        """A size as an LLVM value; each expression is computed once."""
        if isinstance(size, int):
            return str(size)
        if size not in self.sizes:
            self.sizes[size] = self.polynomial(parse_size(size))
        return self.sizes[size]

    def polynomial(self, size: Size) -> str:
        if not isinstance(size, Dim):
            return str(size)
        total = ""
        for monomial, coefficient in size.terms:
            term = str(coefficient)
            for atom in monomial:
                factor = self.atom(atom)
                term = factor if term == "1" else self.text.let(f"mul i64 {term}, {factor}")
            total = self.text.let(f"add i64 {total}, {term}") if total else term
        return total

    def atom(self, atom: Atom) -> str:
        if atom.kind == "symbol":
            return self.sizes[atom.name]
        text, left = self.text, self.polynomial(atom.left)
        if atom.kind in ("min", "max"):
            right = self.polynomial(atom.right)
            first = text.let(f"icmp {'slt' if atom.kind == 'min' else 'sgt'} i64 {left}, {right}")
            return text.let(f"select i1 {first}, i64 {left}, i64 {right}")
        if not isinstance(atom.right, int) or atom.right <= 0:
            raise Unsupported(f"size {atom}: the divisor must be a positive number")
        rest = text.let(f"srem i64 {left}, {atom.right}")
        below = text.let(f"icmp slt i64 {rest}, 0")  # Python rounds down, the machine towards zero
        if atom.kind == "mod":
            return text.let(f"add i64 {rest}, {text.let(f'select i1 {below}, i64 {atom.right}, i64 0')}")
        quotient = text.let(f"sdiv i64 {left}, {atom.right}")
        return text.let(f"sub i64 {quotient}, {text.let(f'zext i1 {below} to i64')}")

    def on_stack(self, kind: str, values: list[str]) -> str:
        """Values in a row on the stack; their address."""
        if not values:
            return "null"
        row = self.text.alloca(f"[{len(values)} x {kind}]")
        for place, value in enumerate(values):
            self.text.store(kind, value, row, 8 * place)
        return row

    @property
    def slots(self) -> TensorSlots:
        if self.signature.slots is None:
            raise CompilerBug("an entry's signature has tensors, but does not name their slots")
        return self.signature.slots
