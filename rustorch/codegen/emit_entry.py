"""A signature to the function that Python calls, as LLVM text: checks, unpacking, the native call, boxing of the results.

    PyObject *rt_entry(PyObject *self, PyObject *const *args, Py_ssize_t nargs)

`self` is a tuple that owns everything the entry needs: an array of addresses, then Python objects (`EntryPlan` names them),
so the text holds no address and serves every graph of its signature. Where any check fails the entry passes the same
arguments to the fallback, a Python callable. Until the last check and allocation has succeeded, nothing has been written.

Order, and why: checks; the new arrays (numpy does not run the collector, so what was checked stays true); the native call;
then tensors and the tuple (their allocation may run the collector, hence any Python code); then writes to captured tensors,
which cannot fail; then references that are given up. Only a kernel without the interpreter's lock needs to own its inputs.

What repeats for each input or output is an internal function of the module, and `assemble` is told to be quick: LLVM takes
1.1 ms for an entry of one tensor and two results then, instead of 9, and a call 222 ns instead of 208.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from rustorch.artifact import ArgSpec, EntryPlan, Layout, Signature
from rustorch.codegen.entry_inputs import FLOATS, INTS, Inputs
from rustorch.errors import CompilerBug

SYMBOL = "rt_entry"
STACK_BYTES = 4096
"""Workspaces up to this size lie on the stack; larger ones in the arena that all entries share."""
PLAIN_BYTES, POOLED_BYTES = 4096, 1 << 20
"""Results from the first size on are aligned to 64 bytes, at the price of a second array that owns the memory; from the second size on
they lie in blocks that are used again (`runtime/blocks.py`)."""

RESULT_FLAGS = 0x0501  # C-contiguous, elements aligned, writeable

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
        if source.kind in ("float", "int") and (spec.shape or spec.dtype not in (FLOATS if source.kind == "float" else FLOATS | INTS)):
            raise CompilerBug(f"a Python {source.kind} cannot become {spec.dtype}{list(spec.shape)} (input {spec.name})")
    for spec in signature.outputs:
        if spec.dtype not in _BYTES:
            raise CompilerBug(f"output {spec.name} has no element type {spec.dtype!r}")
    if signature.slots is not None:
        named = [signature.slots.value, *(slot for slot, _ in signature.slots.fresh)]
        missing = [name for name in named if name not in slots]
        if missing:
            raise CompilerBug(f"no offset of the slots {', '.join(missing)}")


def _most_bytes(spec: ArgSpec) -> int:
    """The size of an output; of one with symbolic sizes, that of a very large one."""
    known = [size for size in spec.shape if isinstance(size, int)]
    return math.prod(known) * _BYTES[spec.dtype] if len(known) == len(spec.shape) else POOLED_BYTES


class _Entry(Inputs):
    """One emission. Blocks `fallback` (nothing was allocated) and `cleanup` (new objects lie in `owned`) close the function."""

    def __init__(self, signature: Signature, layout: Layout, slots: Mapping[str, int]) -> None:
        super().__init__(signature, layout, slots)
        versions = sum(result.kind == "captured" for result in signature.results) if signature.slots and signature.slots.version else 0
        self.owned = self.text.alloca(f"[{len(signature.results) + versions + 1} x ptr]")
        """New objects: a cell for each output, then for each new version."""
        self.held, self.holds = "null", ""
        """The input arrays that are held, and where their number is; empty where none are."""
        self.failures: list[tuple[int, str]] = []
        """Number of cells in use, and the block that goes to `cleanup`."""

    def emit(self) -> EntryPlan:
        signature, text = self.signature, self.text
        text.put(f"%first = getelementptr i8, ptr %self, i64 {self.layout.tuple_items}")
        text.put("%addresses = load ptr, ptr %first")
        text.put(f"%content = getelementptr i8, ptr %addresses, i64 {self.layout.array_data}")
        text.put("%table = load ptr, ptr %content")
        if signature.keywords:
            self.check(text.same("%names", "null"))
        self.check(text.let(f"icmp eq i64 %nargs, {signature.arguments}"))
        if signature.epoch:
            now = text.load("i64", self.word("epoch"))
            self.check(text.let(f"icmp eq i64 {now}, {self.word('epoch_now', 'i64')}"))
        for index, name in signature.constants:
            self.check(text.same(text.load("ptr", "%args", 8 * index), self.object(f"object.{name}")))
        data = [self.input(spec, source) for spec, source in zip(signature.inputs, signature.sources, strict=True)]
        for result in signature.results:
            if result.kind == "captured":
                self.check(text.there(self.value(self.object(f"captured.{result.index}"), result.guards)))
        self.solve()
        self.hold()
        fresh = [self.output(place, spec) for place, spec in enumerate(signature.outputs)]
        code = self.run(data, fresh)
        self.let_go()
        self.allocated(text.let(f"icmp eq i32 {code}, 0"), len(fresh))
        self.finish(fresh)
        return self.plan()

    def hold(self) -> None:
        """Own the input arrays where a block is asked for: that runs Python code, and so perhaps other threads."""
        if any(_most_bytes(spec) >= POOLED_BYTES for spec in self.signature.outputs):
            self.held = self.on_stack("ptr", self.arrays)
            self.holds = self.text.alloca("i64")
            self.text.store("i64", str(len(self.arrays)), self.holds)
            self.each("hold", "Py_IncRef", self.held, str(len(self.arrays)))

    def let_go(self) -> None:
        """The opposite of `hold`, once."""
        if self.holds:
            self.each("drop", "Py_DecRef", self.held, self.text.load("i64", self.holds))
            self.text.store("i64", "0", self.holds)

    def allocated(self, condition: str, cells: int) -> None:
        """While `cells` of the new objects' cells are in use."""
        self.failures.append((cells, self.text.block))
        self.text.need(condition, "cleanup")

    # Outputs

    def output(self, place: int, spec: ArgSpec) -> str:
        """Allocate one output; the array."""
        text = self.text
        if "new" not in self.functions:
            self.define_new()
        static = tuple(size for size in spec.shape if isinstance(size, int))
        if len(static) == len(spec.shape):
            sizes, count = self.constant(static), str(_BYTES[spec.dtype] * math.prod(static))
        else:
            sizes, count = text.alloca(f"[{len(spec.shape)} x i64]"), str(_BYTES[spec.dtype])
            for axis, size in enumerate(map(self.size, spec.shape)):
                text.store("i64", size, sizes, 8 * axis)
                count = text.let(f"mul i64 {count}, {size}")
        words = (f"ptr {self.object(f'dtype.{spec.dtype}')}", f"i32 {len(spec.shape)}", f"ptr {sizes}", f"i64 {count}")
        array = self.part("ptr", "new", *words)
        self.allocated(text.there(array), place)
        self.keep(place, array)
        return array

    def keep(self, place: int, value: str) -> None:
        self.text.store("ptr", value, self.owned, 8 * place)

    def define_new(self) -> None:
        """A new array, or null. A large one lies inside an array of bytes: 64 bytes longer, or, a very large one, a block that is lent."""
        with self.define("ptr", "new", "ptr %dtype", "i32 %rank", "ptr %sizes", "i64 %bytes") as text:
            length = text.alloca("i64")
            text.need(text.let(f"icmp uge i64 %bytes, {PLAIN_BYTES}"), "plain")
            text.need(text.let(f"icmp uge i64 %bytes, {POOLED_BYTES}"), "own")
            number = self.call("ptr", "PyLong_FromLongLong", "i64 %bytes")
            text.need(text.there(number), "failed")
            text.store("ptr", number, length)
            lent = self.call("ptr", "PyObject_Vectorcall", f"ptr {self.object('take')}", f"ptr {length}", "i64 1", "ptr null")
            self.call("void", "Py_DecRef", f"ptr {number}")
            text.put("br label %block")
            taken = text.block
            text.label("own")
            text.store("i64", text.let("add i64 %bytes, 64"), length)
            bytes_ = self.from_descr(self.object("dtype.u8"), "1", length)
            text.put("br label %block")
            made = text.block
            text.label("block")
            block = text.let(f"phi ptr [ {lent}, %{taken} ], [ {bytes_}, %{made} ]")
            text.need(text.there(block), "failed")
            start = text.round_up(text.load("ptr", block, self.layout.array_data))
            array = self.from_descr("%dtype", "%rank", "%sizes", start, RESULT_FLAGS)
            text.need(text.there(array), "alone")
            status = self.call("i32", "PyArray_SetBaseObject", f"ptr {array}", f"ptr {block}")  # takes over `block` even if it fails
            text.need(text.let(f"icmp eq i32 {status}, 0"), "unbased")
            text.put(f"ret ptr {array}")
            for label, rest in (("unbased", array), ("alone", block)):
                text.label(label)
                self.call("void", "Py_DecRef", f"ptr {rest}")
                text.put("br label %failed")
            text.label("failed")
            text.put("ret ptr null")
            text.label("plain")
            text.put(f"ret ptr {self.from_descr('%dtype', '%rank', '%sizes')}")

    def from_descr(self, dtype: str, rank: str, sizes: str, start: str = "null", flags: int = 0) -> str:
        """Numpy's new array, of its own memory unless `start` is given. The element type's reference goes to it, made or not."""
        self.call("void", "Py_IncRef", f"ptr {dtype}")
        of = self.object("type.ndarray")
        words = (f"ptr {of}", f"ptr {dtype}", f"i32 {rank}", f"ptr {sizes}", "ptr null", f"ptr {start}", f"i32 {flags}", "ptr null")
        return self.call("ptr", "PyArray_NewFromDescr", *words)

    # The native call

    def run(self, data: list[str], fresh: list[str]) -> str:
        """Call the driver; its return code."""
        text, signature = self.text, self.signature
        args = self.on_stack("ptr", data + [text.load("ptr", array, self.layout.array_data) for array in fresh])
        work, arena = self.workspace(len(fresh))
        code = text.alloca("i32")
        call = f"call i32 {self.word('driver')}(ptr {self.dims}, ptr {args}, ptr {work}, ptr {self.word('executor')})"
        if isinstance(signature.cost, int):
            self.native(call, code, unlocked=signature.cost > signature.release_above)
        else:
            long = text.let(f"icmp sgt i64 {self.size(signature.cost)}, {signature.release_above}")
            text.put(f"br i1 {long}, label %unlocked, label %locked")
            for label in ("unlocked", "locked"):
                text.label(label)
                self.native(call, code, unlocked=label == "unlocked")
                text.put("br label %called")
            text.label("called")
        if arena:
            text.put(f"store atomic i64 0, ptr {text.at(arena, 16)} release, align 8")
        return text.load("i32", code)

    def native(self, call: str, code: str, *, unlocked: bool) -> None:
        if not unlocked:
            self.text.store("i32", self.text.let(call), code)
            return
        held = self.on_stack("ptr", self.arrays)
        self.each("hold", "Py_IncRef", held, str(len(self.arrays)))
        thread = self.call("ptr", "PyEval_SaveThread")
        self.text.store("i32", self.text.let(call), code)
        self.call("void", "PyEval_RestoreThread", f"ptr {thread}")
        self.each("drop", "Py_DecRef", held, str(len(self.arrays)))

    def each(self, name: str, function: str, cells: str, count: str) -> None:
        """Call an API function on every object in a row; both reference functions take null."""
        if name not in self.functions:
            with self.define("void", name, "ptr %cells", "i64 %count") as text:
                text.put("br label %test")
                text.label("test")
                text.put("%place = phi i64 [ 0, %entry ], [ %next, %body ]")
                text.put("%more = icmp slt i64 %place, %count")
                text.put("br i1 %more, label %body, label %end")
                text.label("body")
                text.put("%next = add i64 %place, 1")
                self.call("void", function, f"ptr {text.load('ptr', text.let('getelementptr ptr, ptr %cells, i64 %place'))}")
                text.put("br label %test")
                text.label("end")
                text.put("ret void")
        self.part("void", name, f"ptr {cells}", f"i64 {count}")

    def workspace(self, cells: int) -> tuple[str, str]:
        """The workspace, and the arena that must be given back (empty: none). A busy arena sends the call to the fallback."""
        text, size = self.text, self.signature.work_bytes
        if size == 0:
            return "null", ""
        if isinstance(size, int) and size <= STACK_BYTES:
            rounded = 1 << max(size - 1, 63).bit_length()  # few sizes, so that more graphs share one entry
            return text.alloca(f"[{rounded} x i8]", 64), ""
        need = self.word("work_bytes", "i64") if isinstance(size, int) else self.size(size)
        arena = self.word("arena")
        busy = text.at(arena, 16)
        pair = text.let(f"cmpxchg ptr {busy}, i64 0, i64 1 acquire monotonic")
        self.allocated(text.let(f"extractvalue {{ i64, i1 }} {pair}, 1"), cells)
        fits = text.let(f"icmp sle i64 {need}, {text.load('i64', arena, 8)}")
        text.put(f"br i1 {fits}, label %ready, label %grow")
        text.label("grow")
        self.call("void", "PyMem_RawFree", f"ptr {text.load('ptr', arena)}")
        capacity = text.let(f"add i64 {need}, {text.let(f'lshr i64 {need}, 2')}")  # room for a call that is a little larger
        block = self.call("ptr", "PyMem_RawMalloc", f"i64 {text.let(f'add i64 {capacity}, 64')}")
        there = text.there(block)
        text.store("ptr", block, arena)
        text.store("i64", text.let(f"select i1 {there}, i64 {capacity}, i64 0"), arena, 8)
        text.put(f"br i1 {there}, label %ready, label %exhausted")
        text.label("exhausted")
        text.put(f"store atomic i64 0, ptr {busy} release, align 8")
        self.failures.append((cells, text.block))
        text.put("br label %cleanup")
        text.label("ready")
        return text.round_up(text.load("ptr", arena)), arena

    # Results

    def finish(self, fresh: list[str]) -> None:
        """Everything that can fail, then the writes to captured tensors, then the references that are given up."""
        text, returned, writes = self.text, [], []
        cells = len(fresh)
        for place, (result, array) in enumerate(zip(self.signature.results, fresh, strict=True)):
            if result.kind == "captured":
                tensor = self.object(f"captured.{result.index}")
                writes.append((tensor, self.slots.value, place, array))
                if self.slots.version:
                    version = self.next_version(tensor, cells)
                    writes.append((tensor, self.slots.version, cells, version))
                    cells += 1
            elif result.kind == "tensor":
                tensor = self.tensor(place, array, cells)
                for slot, name in result.fresh:
                    value = self.object(f"object.{name}")
                    self.call("void", "Py_IncRef", f"ptr {value}")
                    text.store("ptr", value, tensor, self.offsets[slot])
                if result.sized:
                    self.call("void", "Py_IncRef", f"ptr {self.by_size[place]}")
                    text.store("ptr", self.by_size[place], tensor, self.offsets[result.sized])
                returned.append((place, tensor))
            else:
                returned.append((place, array))
        order = sorted(returned, key=lambda one: self.signature.results[one[0]].index)
        answer = self.answer([value for _, value in order], cells)
        for tensor, slot, place, value in writes:
            where = text.at(tensor, self.offsets[slot])
            self.keep(place, text.load("ptr", where))
            text.store("ptr", value, where)
        if writes:
            for place, _ in returned:
                self.keep(place, "null")
            self.each("drop", "Py_DecRef", self.owned, str(cells))
        text.put(f"ret ptr {answer}")

    def next_version(self, tensor: str, cells: int) -> str:
        """The int after the one in a tensor's version slot, in a cell of its own."""
        if "next" not in self.functions:
            with self.define("ptr", "next", "ptr %tensor") as text:
                version = text.load("ptr", "%tensor", self.offsets[self.slots.version])
                text.need(text.there(version), "no")
                text.need(text.same(text.load("ptr", version, self.layout.type), self.object("type.int")), "no")
                grown = self.call("ptr", "PyNumber_Add", f"ptr {version}", f"ptr {self.object('one')}")
                text.put(f"ret ptr {grown}")
                text.label("no")
                text.put("ret ptr null")
        version = self.part("ptr", "next", f"ptr {tensor}")
        self.allocated(self.text.there(version), cells)
        self.keep(cells, version)
        return version

    def tensor(self, place: int, array: str, cells: int) -> str:
        """A tensor around an array, whose reference and cell it takes over."""
        if "tensor" not in self.functions:
            with self.define("ptr", "tensor", "ptr %array") as text:
                tensor = self.call("ptr", "PyType_GenericAlloc", f"ptr {self.object('type.tensor')}", "i64 0")
                text.need(text.there(tensor), "no")
                text.store("ptr", "%array", tensor, self.offsets[self.slots.value])
                for slot, name in self.slots.fresh:
                    value = self.object(f"object.{name}")
                    self.call("void", "Py_IncRef", f"ptr {value}")
                    text.store("ptr", value, tensor, self.offsets[slot])
                text.put("br label %no")
                text.label("no")
                text.put(f"ret ptr {tensor}")
        tensor = self.part("ptr", "tensor", f"ptr {array}")
        self.allocated(self.text.there(tensor), cells)
        self.keep(place, tensor)
        return tensor

    def answer(self, returned: list[str], cells: int) -> str:
        """What the call returns."""
        if len(returned) == 1 and not self.signature.as_tuple:
            return returned[0]
        if not returned and not self.signature.as_tuple:
            none = self.object("none")
            self.call("void", "Py_IncRef", f"ptr {none}")
            return none
        answer = self.call("ptr", "PyTuple_New", f"i64 {len(returned)}")
        self.allocated(self.text.there(answer), cells)
        for place, value in enumerate(returned):
            self.text.store("ptr", value, answer, self.layout.tuple_items + 8 * place)
        return answer

    # The whole

    def plan(self) -> EntryPlan:
        text = self.text
        text.label("cleanup")
        text.put(f"%made = phi i64 {', '.join(f'[ {cells}, %{block} ]' for cells, block in self.failures)}")
        self.each("drop", "Py_DecRef", self.owned, "%made")
        self.let_go()
        self.call("void", "PyErr_Clear")
        text.put("br label %fallback")
        text.label("fallback")
        names = "%names" if self.signature.keywords else "null"
        words = (f"ptr {self.object('fallback')}", "ptr %args", "i64 %nargs", f"ptr {names}")
        text.put(f"ret ptr {self.call('ptr', 'PyObject_Vectorcall', *words)}")
        parameters = "ptr %self, ptr %args, i64 %nargs" + (", ptr %names" if self.signature.keywords else "")
        function = text.function(f"ptr @{SYMBOL}({parameters})")
        captured = [int(name.removeprefix("captured.")) for name in self.objects if name.startswith("captured.")]
        return EntryPlan(
            symbol=SYMBOL,
            text=self.print() + function,
            objects=tuple(self.objects),
            addresses=tuple(self.addresses),
            captured=max(captured, default=-1) + 1,
            keywords=self.signature.keywords,
        )
