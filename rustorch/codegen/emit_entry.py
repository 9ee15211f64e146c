"""A signature to the function that Python calls, as LLVM text: checks, unpacking, the native call, boxing of the results.

    PyObject *rt_entry(PyObject *self, PyObject *const *args, Py_ssize_t nargs)

`self` is a tuple that owns everything the entry needs: an array of addresses, then Python objects (`EntryPlan` names them),
so the text holds no address and serves every graph of its signature. Where any check fails the entry passes the same
arguments to the fallback, a Python callable. Until the last check and allocation has succeeded, nothing has been written.

Order, and why: checks; the new arrays (numpy does not run the collector, so what was checked stays true); the native call;
then tensors and the tuple (their allocation may run the collector, hence any Python code); then writes to captured tensors,
which cannot fail; then references that are given up. Only a kernel without the interpreter's lock needs to own its inputs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from rustorch.artifact import ArgSpec, EntryPlan, Layout, Signature, Source, TensorSlots
from rustorch.errors import CompilerBug, Unsupported
from rustorch.ir.dims import Atom, Dim, Size, parse_size

SYMBOL = "rt_entry"
STACK_BYTES = 4096
"""Workspaces up to this size lie on the stack; larger ones in the arena that all entries share."""
PLAIN_BYTES = 4096
"""Results from this size on are aligned to 64 bytes, at the price of a second array that owns the memory."""

READABLE = 0x0101  # C-contiguous, elements aligned
RESULT_FLAGS = 0x0501  # and writeable

ATTRIBUTES = 'nounwind "no-builtins"'

_FLOATS = {"f32": "float", "f64": "double"}
_INTS = {"i32": "i32", "i64": "i64"}
_BYTES = {"bool": 1, "i8": 1, "u8": 1, "i16": 2, "u16": 2, "f16": 2, "i32": 4, "u32": 4, "f32": 4}
_BYTES |= {"i64": 8, "u64": 8, "f64": 8, "c64": 8, "c128": 16}
_NO_SLOTS: Mapping[str, int] = MappingProxyType({})


def emit_entry(signature: Signature, layout: Layout, slots: Mapping[str, int] = _NO_SLOTS) -> EntryPlan:
    """The entry of a signature; `slots` are the offsets of the Tensor class's slots in this process."""
    _check(signature, slots)
    return _Entry(signature, layout, slots).emit()


def _check(signature: Signature, slots: Mapping[str, int]) -> None:
    """Signatures are made by the compiler, so a wrong one is its mistake."""
    if len(signature.inputs) != len(signature.sources) or len(signature.outputs) != len(signature.results):
        raise CompilerBug("an entry's signature needs one source for each input and one result for each output")
    written = [result.index for result in signature.results if result.kind == "captured"]
    if len(written) != len(set(written)):
        raise CompilerBug(f"an entry's signature writes one captured tensor twice: {written}")
    for source, spec in zip(signature.sources, signature.inputs, strict=True):
        if source.kind in ("float", "int") and (spec.shape or spec.dtype not in (_FLOATS if source.kind == "float" else _FLOATS | _INTS)):
            raise CompilerBug(f"a Python {source.kind} cannot become {spec.dtype}{list(spec.shape)} (input {spec.name})")
    if signature.slots is not None:
        named = [signature.slots.value, *(slot for slot, _ in signature.slots.fresh)]
        missing = [name for name in named if name not in slots]
        if missing:
            raise CompilerBug(f"no offset of the slots {', '.join(missing)}")


@dataclass
class _Text:
    """LLVM text under construction. `let` names values by number; `goto` and `label` end and start blocks."""

    lines: list[str] = field(default_factory=list)
    count: int = 0

    def put(self, line: str) -> None:
        self.lines.append(f"  {line}")

    def let(self, expression: str) -> str:
        self.count += 1
        self.put(f"%v{self.count} = {expression}")
        return f"%v{self.count}"

    def label(self, name: str) -> None:
        self.lines.append(f"{name}:")

    def at(self, base: str, offset: int) -> str:
        return self.let(f"getelementptr i8, ptr {base}, i64 {offset}") if offset else base

    def load(self, kind: str, base: str, offset: int = 0) -> str:
        return self.let(f"load {kind}, ptr {self.at(base, offset)}")

    def store(self, kind: str, value: str, base: str, offset: int = 0) -> None:
        self.put(f"store {kind} {value}, ptr {self.at(base, offset)}")

    def round_up(self, address: str) -> str:
        """The next address that is a multiple of 64."""
        beyond = self.let(f"add i64 {self.let(f'ptrtoint ptr {address} to i64')}, 63")
        return self.let(f"inttoptr i64 {self.let(f'and i64 {beyond}, -64')} to ptr")

    def both(self, conditions: list[str]) -> str:
        """The conjunction."""
        total = conditions[0]
        for condition in conditions[1:]:
            total = self.let(f"and i1 {total}, {condition}")
        return total

    def need(self, condition: str, otherwise: str = "fallback") -> None:
        """Go on only if `condition` holds."""
        self.count += 1
        self.put(f"br i1 {condition}, label %b{self.count}, label %{otherwise}")
        self.label(f"b{self.count}")


class _Entry:
    """One emission. Blocks `fallback` (nothing was allocated) and `cleanup` (new objects lie in `%owned`) close the function."""

    def __init__(self, signature: Signature, layout: Layout, slots: Mapping[str, int]) -> None:
        self.signature, self.layout, self.offsets = signature, layout, slots
        self.text = _Text()
        self.stack: list[str] = []
        self.shapes: dict[tuple[int, ...], str] = {}
        self.objects: dict[str, int] = {}
        self.addresses: dict[str, int] = {}
        self.sizes: dict[str, str] = {}
        """Values of the symbolic dimensions."""
        self.unsolved: list[tuple[str, str]] = []
        """Sizes found, and the expressions that they must equal."""
        self.arrays: list[str] = []
        """Input arrays that are Python objects: what a kernel without the interpreter's lock must own."""
        self.owned = 0
        self.aligned = False
        """Whether some result needs the function `@aligned`."""

    # What the entry is given

    def object(self, name: str) -> str:
        """A Python object from `self`."""
        place = self.objects.setdefault(name, len(self.objects))
        return self.text.load("ptr", "%self", self.layout.tuple_items + 8 * (place + 1))

    def word(self, name: str, kind: str = "ptr") -> str:
        """An address, or another word, from the table."""
        place = self.addresses.setdefault(name, len(self.addresses))
        return self.text.load(kind, "%table", 8 * place)

    def call(self, result: str, name: str, *arguments: str) -> str:
        """Call an API function."""
        function = self.word(name)
        call = f"call {result} {function}({', '.join(arguments)})"
        if result == "void":
            self.text.put(call)
            return ""
        return self.text.let(call)

    def own(self, value: str) -> None:
        """One more reference to an object."""
        self.call("void", "Py_IncRef", f"ptr {value}")

    # Emission

    def emit(self) -> EntryPlan:
        signature, text = self.signature, self.text
        self._head()
        for index, name in signature.constants:
            given = text.load("ptr", "%args", 8 * index)
            text.need(text.let(f"icmp eq ptr {given}, {self.object(f'object.{name}')}"))
        data = [self._input(spec, source) for spec, source in zip(signature.inputs, signature.sources, strict=True)]
        for result in signature.results:
            if result.kind == "captured":
                self._content(self.object(f"captured.{result.index}"), result.guards)
        self._solve()
        fresh = self._outputs()
        code = self._run(data, fresh)
        text.need(text.let(f"icmp eq i32 {code}, 0"), "cleanup")
        self._results(fresh)
        self._tail()
        return self._plan()

    def _head(self) -> None:
        text = self.text
        if self.signature.keywords:
            text.need(text.let("icmp eq ptr %names, null"))
        text.need(text.let(f"icmp eq i64 %nargs, {self.signature.arguments}"))
        if self.signature.epoch:
            now = text.load("i64", self.word("epoch"))
            text.need(text.let(f"icmp eq i64 {now}, {self.word('epoch_now', 'i64')}"))

    def _input(self, spec: ArgSpec, source: Source) -> str:
        """Check one input; the address of its elements."""
        if source.kind == "captured":
            return self._array(spec, self._content(self.object(f"captured.{source.index}"), source.guards))
        argument = self.text.load("ptr", "%args", 8 * source.index)
        kind = {"array": "ndarray"}.get(source.kind, source.kind)
        if source.kind == "array":
            return self._array(spec, argument)
        found = self.text.load("ptr", argument, self.layout.type)
        self.text.need(self.text.let(f"icmp eq ptr {found}, {self.object(f'type.{kind}')}"))
        if source.kind == "tensor":
            return self._array(spec, self._content(argument, source.guards))
        return self._number(spec, source.kind, argument)

    def _content(self, tensor: str, guards: tuple[tuple[str, str], ...]) -> str:
        """The object in a tensor's value slot, whose other slots are as expected."""
        text = self.text
        value = text.load("ptr", tensor, self.offsets[self._slots.value])
        conditions = [text.let(f"icmp ne ptr {value}, null")]
        for slot, name in guards:
            found = text.load("ptr", tensor, self.offsets[slot])
            conditions.append(text.let(f"icmp eq ptr {found}, {self.object(f'object.{name}')}"))
        text.need(text.both(conditions))
        return value

    def _array(self, spec: ArgSpec, array: str) -> str:
        """Check that an object is an exact ndarray of the input's type; the address of its elements."""
        text, at = self.text, self.layout
        found = text.load("ptr", array, at.type)
        text.need(text.let(f"icmp eq ptr {found}, {self.object('type.ndarray')}"))
        dtype, rank = text.load("ptr", array, at.array_dtype), text.load("i32", array, at.array_rank)
        readable = text.let(f"and i32 {text.load('i32', array, at.array_flags)}, {READABLE}")
        text.need(
            text.both(
                [
                    text.let(f"icmp eq ptr {dtype}, {self.object(f'dtype.{spec.dtype}')}"),
                    text.let(f"icmp eq i32 {rank}, {len(spec.shape)}"),
                    text.let(f"icmp eq i32 {readable}, {READABLE}"),
                ]
            )
        )
        if spec.shape:
            self._shape(spec.shape, text.load("ptr", array, at.array_sizes))
        self.arrays.append(array)
        return text.load("ptr", array, at.array_data)

    def _shape(self, shape: tuple[int | str, ...], sizes: str) -> None:
        """Compare sizes; a dimension's name alone takes the size the first time it is met."""
        text, conditions = self.text, []
        for axis, size in enumerate(shape):
            found = text.load("i64", sizes, 8 * axis)
            if isinstance(size, int):
                conditions.append(text.let(f"icmp eq i64 {found}, {size}"))
            elif size in self.sizes:
                conditions.append(text.let(f"icmp eq i64 {found}, {self.sizes[size]}"))
            elif size in self.signature.dims:
                self.sizes[size] = found
                conditions.append(text.let(f"icmp sge i64 {found}, {self.signature.least}"))
            else:
                self.unsolved.append((found, size))
        if conditions:
            text.need(text.both(conditions))

    def _number(self, spec: ArgSpec, kind: str, number: str) -> str:
        """Convert a Python number into a cell on the stack; the cell's address."""
        text = self.text
        cell = self._alloca("i64", 8)
        if kind == "float":
            value = text.load("double", number, self.layout.float_value)
            if spec.dtype == "f32":
                value = text.let(f"fptrunc double {value} to float")
            text.store(_FLOATS[spec.dtype], value, cell)
            return cell
        overflow = self._alloca("i32", 4)
        value = self.call("i64", "PyLong_AsLongLongAndOverflow", f"ptr {number}", f"ptr {overflow}")
        fits = [text.let(f"icmp eq i32 {text.load('i32', overflow)}, 0")]
        if spec.dtype in _FLOATS:
            result = text.let(f"sitofp i64 {value} to {_FLOATS[spec.dtype]}")
        elif spec.dtype == "i32":
            result = text.let(f"trunc i64 {value} to i32")
            fits.append(text.let(f"icmp eq i64 {text.let(f'sext i32 {result} to i64')}, {value}"))
        else:
            result = value
        text.need(text.both(fits))
        text.store((_FLOATS | _INTS)[spec.dtype], result, cell)
        return cell

    def _solve(self) -> None:
        """Compare the sizes that are expressions, now that every dimension has a value."""
        missing = [name for name in self.signature.dims if name not in self.sizes]
        if missing:
            raise Unsupported(f"dimension {missing[0]} stands only inside expressions: some input must have it as a size of its own")
        for found, expression in self.unsolved:
            self.text.need(self.text.let(f"icmp eq i64 {found}, {self._size(expression)}"))

    def _size(self, size: int | str) -> str:
        """A size as an LLVM value; each expression is computed once."""
        if isinstance(size, int):
            return str(size)
        if size not in self.sizes:
            self.sizes[size] = self._value(parse_size(size))
        return self.sizes[size]

    def _value(self, size: Size) -> str:
        if not isinstance(size, Dim):
            return str(size)
        total = ""
        for monomial, coefficient in size.terms:
            term = str(coefficient)
            for atom in monomial:
                factor = self._atom(atom)
                term = factor if term == "1" else self.text.let(f"mul i64 {term}, {factor}")
            total = self.text.let(f"add i64 {total}, {term}") if total else term
        return total

    def _atom(self, atom: Atom) -> str:
        if atom.kind == "symbol":
            return self.sizes[atom.name]
        text, left = self.text, self._value(atom.left)
        if atom.kind in ("min", "max"):
            right = self._value(atom.right)
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

    # New arrays

    def _outputs(self) -> list[str]:
        """Allocate the outputs. From here on every new object lies in `%owned` until the end."""
        results = self.signature.results
        versions = sum(result.kind == "captured" for result in results) if self.signature.slots and self._slots.version else 0
        self.owned = len(results) + sum(result.kind == "tensor" for result in results) + versions
        self.stack.append(f"%owned = alloca [{max(self.owned, 1)} x ptr]")
        for place in range(self.owned):
            self._keep(place, "null")
        fresh = []
        for place, spec in enumerate(self.signature.outputs):
            array = self._new_array(spec)
            self._keep(place, array)
            self.text.need(self.text.let(f"icmp ne ptr {array}, null"), "cleanup")
            fresh.append(array)
        return fresh

    def _keep(self, place: int, value: str) -> None:
        self.text.store("ptr", value, "%owned", 8 * place)

    def _new_array(self, spec: ArgSpec) -> str:
        if spec.dtype not in _BYTES:
            raise CompilerBug(f"output {spec.name} has no element type {spec.dtype!r}")
        dtype, sizes = self.object(f"dtype.{spec.dtype}"), self._sizes(spec.shape)
        if all(isinstance(size, int) for size in spec.shape):
            bytes_ = _BYTES[spec.dtype] * math.prod(size for size in spec.shape if isinstance(size, int))
            if bytes_ < PLAIN_BYTES:
                return self._plain(dtype, str(len(spec.shape)), sizes)
            count = str(bytes_)
        else:
            count = str(_BYTES[spec.dtype])
            for size in spec.shape:
                count = self.text.let(f"mul i64 {count}, {self._size(size)}")
        self.aligned = True
        return self.text.let(f"call ptr @aligned(ptr %self, ptr %table, ptr {dtype}, i32 {len(spec.shape)}, ptr {sizes}, i64 {count})")

    def _plain(self, dtype: str, rank: str, sizes: str, start: str = "null", flags: int = 0) -> str:
        """A new array, of numpy's own memory unless `start` is given."""
        self.own(dtype)  # taken over by the new array, also where making it fails
        of = self.object("type.ndarray")
        words = (f"ptr {of}", f"ptr {dtype}", f"i32 {rank}", f"ptr {sizes}", "ptr null", f"ptr {start}", f"i32 {flags}", "ptr null")
        return self.call("ptr", "PyArray_NewFromDescr", *words)

    def _sizes(self, shape: tuple[int | str, ...]) -> str:
        """The address of a shape's sizes: a constant of the module where it is static, else on the stack."""
        if not shape:
            return "null"
        static = tuple(size for size in shape if isinstance(size, int))
        if len(static) == len(shape):
            return self.shapes.setdefault(static, f"@shape{len(self.shapes)}")
        sizes = self._alloca(f"[{len(shape)} x i64]", 8)
        for axis, size in enumerate(shape):
            self.text.store("i64", self._size(size), sizes, 8 * axis)
        return sizes

    def _alloca(self, kind: str, alignment: int) -> str:
        name = f"%s{len(self.stack)}"
        self.stack.append(f"{name} = alloca {kind}, align {alignment}")
        return name

    def _aligned(self) -> str:
        """The function behind large results: an array that owns 64 bytes more, and in it the array that is asked for."""
        outer, self.text = self.text, _Text()
        text, failed = self.text, "failed"
        text.put("%length = alloca i64")
        text.put(f"%small = icmp ult i64 %bytes, {PLAIN_BYTES}")
        text.put("br i1 %small, label %plain, label %large")
        text.label("plain")
        text.put(f"ret ptr {self._plain('%dtype', '%rank', '%sizes')}")
        text.label("large")
        text.store("i64", text.let("add i64 %bytes, 64"), "%length")
        block = self._plain(self.object("dtype.u8"), "1", "%length")
        text.need(text.let(f"icmp ne ptr {block}, null"), failed)
        start = text.round_up(text.load("ptr", block, self.layout.array_data))
        array = self._plain("%dtype", "%rank", "%sizes", start, RESULT_FLAGS)
        text.need(text.let(f"icmp ne ptr {array}, null"), "alone")
        status = self.call("i32", "PyArray_SetBaseObject", f"ptr {array}", f"ptr {block}")  # takes over `block`, whatever happens
        text.need(text.let(f"icmp eq i32 {status}, 0"), "unbased")
        text.put(f"ret ptr {array}")
        for label, rest in (("unbased", array), ("alone", block)):
            text.label(label)
            self.call("void", "Py_DecRef", f"ptr {rest}")
            text.put(f"br label %{failed}")
        text.label(failed)
        text.put("ret ptr null")
        self.text = outer
        head = "define internal ptr @aligned(ptr %self, ptr %table, ptr %dtype, i32 %rank, ptr %sizes, i64 %bytes)"
        return f"{head} {ATTRIBUTES} {{\n" + "\n".join(text.lines) + "\n}\n"

    # The native call

    def _run(self, data: list[str], fresh: list[str]) -> str:
        """Call the driver; its return code."""
        text, signature = self.text, self.signature
        buffers = data + [text.load("ptr", array, self.layout.array_data) for array in fresh]
        args = self._alloca(f"[{max(len(buffers), 1)} x ptr]", 8)
        for place, address in enumerate(buffers):
            text.store("ptr", address, args, 8 * place)
        dims = "null"
        if signature.dims:
            dims = self._alloca(f"[{len(signature.dims)} x i64]", 8)
            for place, name in enumerate(signature.dims):
                text.store("i64", self.sizes[name], dims, 8 * place)
        work, arena = self._workspace()
        code = self._alloca("i32", 4)
        call = f"call i32 {self.word('driver')}(ptr {dims}, ptr {args}, ptr {work}, ptr {self.word('executor')})"
        if isinstance(signature.cost, int):
            self._call(call, code, unlocked=signature.cost > signature.release_above)
        else:
            long = text.let(f"icmp sgt i64 {self._size(signature.cost)}, {signature.release_above}")
            text.put(f"br i1 {long}, label %unlocked, label %locked")
            for label, unlocked in (("unlocked", True), ("locked", False)):
                text.label(label)
                self._call(call, code, unlocked=unlocked)
                text.put("br label %called")
            text.label("called")
        if arena:
            text.put(f"store atomic i64 0, ptr {text.at(arena, 16)} release, align 8")
        return text.load("i32", code)

    def _call(self, call: str, code: str, *, unlocked: bool) -> None:
        if unlocked:
            for array in self.arrays:
                self.own(array)
            thread = self.call("ptr", "PyEval_SaveThread")
        self.text.store("i32", self.text.let(call), code)
        if unlocked:
            self.call("void", "PyEval_RestoreThread", f"ptr {thread}")
            for array in self.arrays:
                self.call("void", "Py_DecRef", f"ptr {array}")

    def _workspace(self) -> tuple[str, str]:
        """The workspace, and the arena that must be given back (empty: none). A busy arena sends the call to the fallback."""
        text, size = self.text, self.signature.work_bytes
        if size == 0:
            return "null", ""
        if isinstance(size, int) and size <= STACK_BYTES:
            rounded = 1 << max(size - 1, 63).bit_length()  # few sizes, so that more graphs share one entry
            return self._alloca(f"[{rounded} x i8]", 64), ""
        need = self.word("work_bytes", "i64") if isinstance(size, int) else self._size(size)
        arena = self.word("arena")
        pair = text.let(f"cmpxchg ptr {text.at(arena, 16)}, i64 0, i64 1 acquire monotonic")
        text.need(text.let(f"extractvalue {{ i64, i1 }} {pair}, 1"), "cleanup")
        fits = text.let(f"icmp sle i64 {need}, {text.load('i64', arena, 8)}")
        text.put(f"br i1 {fits}, label %ready, label %grow")
        text.label("grow")
        self.call("void", "PyMem_RawFree", f"ptr {text.load('ptr', arena)}")
        capacity = text.let(f"add i64 {need}, {text.let(f'lshr i64 {need}, 2')}")  # room for a call that is a little larger
        block = self.call("ptr", "PyMem_RawMalloc", f"i64 {text.let(f'add i64 {capacity}, 64')}")
        there = text.let(f"icmp ne ptr {block}, null")
        text.store("ptr", block, arena)
        text.store("i64", text.let(f"select i1 {there}, i64 {capacity}, i64 0"), arena, 8)
        text.put(f"br i1 {there}, label %ready, label %exhausted")
        text.label("exhausted")
        text.put(f"store atomic i64 0, ptr {text.at(arena, 16)} release, align 8")
        text.put("br label %cleanup")
        text.label("ready")
        return text.round_up(text.load("ptr", arena)), arena

    # Boxing

    def _results(self, fresh: list[str]) -> None:
        """Everything that can fail, then the writes to captured tensors, then the references that are given up."""
        text, returned, writes = self.text, [], []
        place = len(fresh)
        for index, (result, array) in enumerate(zip(self.signature.results, fresh, strict=True)):
            if result.kind == "captured":
                tensor = self.object(f"captured.{result.index}")
                writes.append((tensor, self._slots.value, array))
                if self._slots.version:
                    writes.append((tensor, self._slots.version, self._next_version(tensor, place)))
                    place += 1
            elif result.kind == "tensor":
                returned.append(self._new_tensor(index, array, place))
                place += 1
            else:
                returned.append(array)
        answer = self._answer(returned)
        old = []
        for tensor, slot, value in writes:
            old.append(text.load("ptr", tensor, self.offsets[slot]))
            text.store("ptr", value, tensor, self.offsets[slot])
        for value in old:
            self.call("void", "Py_DecRef", f"ptr {value}")
        text.put(f"ret ptr {answer}")

    def _next_version(self, tensor: str, place: int) -> str:
        """The int after the one in a tensor's version slot."""
        text = self.text
        version = text.load("ptr", tensor, self.offsets[self._slots.version])
        text.need(text.let(f"icmp ne ptr {version}, null"), "cleanup")
        found = text.load("ptr", version, self.layout.type)
        text.need(text.let(f"icmp eq ptr {found}, {self.object('type.int')}"), "cleanup")
        grown = self.call("ptr", "PyNumber_Add", f"ptr {version}", f"ptr {self.object('one')}")
        self._keep(place, grown)
        text.need(text.let(f"icmp ne ptr {grown}, null"), "cleanup")
        return grown

    def _new_tensor(self, index: int, array: str, place: int) -> str:
        """A tensor around an array, whose reference it takes over."""
        text = self.text
        tensor = self.call("ptr", "PyType_GenericAlloc", f"ptr {self.object('type.tensor')}", "i64 0")
        self._keep(place, tensor)
        text.need(text.let(f"icmp ne ptr {tensor}, null"), "cleanup")
        text.store("ptr", array, tensor, self.offsets[self._slots.value])
        self._keep(index, "null")
        for slot, name in self._slots.fresh:
            value = self.object(f"object.{name}")
            self.own(value)
            text.store("ptr", value, tensor, self.offsets[slot])
        return tensor

    def _answer(self, returned: list[str]) -> str:
        """What the call returns."""
        if len(returned) == 1 and not self.signature.as_tuple:
            return returned[0]
        if not returned and not self.signature.as_tuple:
            none = self.object("none")
            self.own(none)
            return none
        answer = self.call("ptr", "PyTuple_New", f"i64 {len(returned)}")
        self.text.need(self.text.let(f"icmp ne ptr {answer}, null"), "cleanup")
        for place, value in enumerate(returned):
            self.text.store("ptr", value, answer, self.layout.tuple_items + 8 * place)
        return answer

    # The whole

    def _tail(self) -> None:
        text = self.text
        text.label("cleanup")
        for place in range(self.owned):
            self.call("void", "Py_DecRef", f"ptr {text.load('ptr', '%owned', 8 * place)}")  # which takes null
        self.call("void", "PyErr_Clear")
        text.put("br label %fallback")
        text.label("fallback")
        names = "%names" if self.signature.keywords else "null"
        words = (f"ptr {self.object('fallback')}", "ptr %args", "i64 %nargs", f"ptr {names}")
        text.put(f"ret ptr {self.call('ptr', 'PyObject_Vectorcall', *words)}")

    def _plan(self) -> EntryPlan:
        aligned = self._aligned() if self.aligned else ""
        parameters = "ptr %self, ptr %args, i64 %nargs" + (", ptr %names" if self.signature.keywords else "")
        table = f"  %first = getelementptr i8, ptr %self, i64 {self.layout.tuple_items}\n  %addresses = load ptr, ptr %first\n"
        table += f"  %words = getelementptr i8, ptr %addresses, i64 {self.layout.array_data}\n  %table = load ptr, ptr %words\n"
        shapes = "".join(
            f"{name} = private constant [{len(shape)} x i64] [{', '.join(f'i64 {size}' for size in shape)}]\n"
            for shape, name in self.shapes.items()
        )
        stack = "".join(f"  {line}\n" for line in self.stack)
        body = "\n".join(self.text.lines)
        function = f"define ptr @{SYMBOL}({parameters}) {ATTRIBUTES} {{\n{stack}{table}{body}\n}}\n"
        captured = [int(name.removeprefix("captured.")) for name in self.objects if name.startswith("captured.")]
        return EntryPlan(
            symbol=SYMBOL,
            text=shapes + aligned + function,
            objects=tuple(self.objects),
            addresses=tuple(self.addresses),
            captured=max(captured, default=-1) + 1,
            keywords=self.signature.keywords,
        )

    @property
    def _slots(self) -> TensorSlots:
        if self.signature.slots is None:
            raise CompilerBug("an entry's signature has tensors, but does not name their slots")
        return self.signature.slots
