"""`jit`: a function is traced once for each kind of arguments, compiled as a whole, and called as one native program.

Arguments: tensors and arrays (in any nesting of containers) are inputs, and so are Python ints and floats, as weak 0-d tensors;
everything else is static, and every value of it gets a program of its own. Tensors that the function takes from outside
(parameters, an optimiser's state, a learning rate kept as a tensor) are inputs, too: their present elements are read at every
call, and what the function does to them in place, or to their `.grad`, is written back after the program has succeeded.
"""

from __future__ import annotations

import functools
import inspect
import threading
import warnings
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any, NamedTuple, Self

import numpy as np

from rustorch.errors import ArgumentError, SideEffectWarning, Unsupported, compose
from rustorch.frontend import tree
from rustorch.frontend.anomaly import checks, raise_anomaly
from rustorch.frontend.base import TensorBase, concrete, looked_into
from rustorch.frontend.captured import Attributes, Captured
from rustorch.frontend.explain import journal, note
from rustorch.frontend.host import HostResult, Staged
from rustorch.frontend.native_entry import native_entry
from rustorch.frontend.native_step import native_step
from rustorch.frontend.operation import from_array
from rustorch.frontend.program import Program, make_program
from rustorch.frontend.promotion import Family, Promoted, pattern_of, with_sizes
from rustorch.frontend.pull import Inlined
from rustorch.frontend.segment import carrier
from rustorch.frontend.state import defaults, local
from rustorch.frontend.storage import count_write, store, write
from rustorch.frontend.trace import Output, Outside, Trace, Traced, run_traced
from rustorch.ir.dims import Dim, Size
from rustorch.ir.dtypes import from_numpy
from rustorch.ir.location import user_location
from rustorch.ir.printer import to_text
from rustorch.ir.types import TensorType

Leaf = Any


class CacheInfo(NamedTuple):
    """How a jitted function's programs were used."""

    hits: int
    misses: int
    currsize: int
    promoted: int = 0
    """How many of the programs serve several sizes of arguments."""


class Switch:
    """Whether `jit` compiles; off, functions run as they are."""

    def __init__(self) -> None:
        self._on = True

    @property
    def on(self) -> bool:
        """Whether `jit` compiles."""
        return self._on

    @on.setter
    def on(self, on: bool) -> None:
        self._on = on
        defaults.epoch += 1  # native entries ask again


switch = Switch()


class Entry:
    """A traced and compiled function for one kind of arguments."""

    def __init__(self, traced: Traced, name: str, keep: list[Any], attributes: Attributes | None = None) -> None:
        self.traced, self.keep, self.attributes = traced, keep, attributes
        graph = traced.graph
        self.program: Program | Staged
        if traced.calls:
            others = zip(graph.inputs[traced.arguments :], traced.outside, strict=True)
            self.program = Staged(graph, traced.calls, {v: o for v, o in others if isinstance(o, HostResult)}, name)
        else:
            self.program = make_program(graph.inputs, graph.nodes, graph.outputs, name)
        self.types: list[TensorType] = [v.type for v in graph.outputs]  # type: ignore[misc]
        self.flags = [(o, f._type, f._requires_grad) for o in traced.outside if isinstance(o, Outside) and (f := o.found()) is not None]
        self.inlined = Inlined(graph, name, traced.differentiable) if any(traced.differentiable) and not traced.calls else None
        self.once = bool(traced.leaked)
        self.is_static = all(type_.is_static for type_ in self.types)
        self._natives: dict[tuple[Any, ...], tuple[int, Callable[..., Any] | None]] = {}

    def fits(self) -> bool:
        """Whether what the program took from outside is still as it was: types, gradients wanted, watched attributes."""
        for outside, type_, flag in self.flags:
            x = outside.found()
            if x is None or x._type is not type_ or x._requires_grad is not flag:
                return False
        for x, has in self.traced.guards:
            if (x._grad is not None) is not has:
                return False
        if self.attributes is not None and not self.attributes.hold():
            return False
        return all(getattr(owner, name, None) == value for owner, name, value in self.traced.watched)

    def native(self, leaves: Sequence[Any], mode: bool, fallback: Callable[..., Any]) -> Callable[..., Any] | None:
        """The short way for calls like this one, made at its first repetition; None where there is none."""
        kind, epoch = (*map(type, leaves), mode), int(defaults.epoch[0])
        known = self._natives.get(kind)
        if isinstance(self.program, Staged):
            return None
        if known is None or known[0] != epoch:  # an entry of an earlier epoch declines every call
            entry = native_entry(self.program, self.traced, leaves, fallback)
            if entry is None and not (mode and self.inlined is not None):
                entry = native_step(self.program, self.traced, leaves, mode, fallback)
            known = self._natives[kind] = (epoch, entry)
        return known[1]

    def call(self, given: list[Any]) -> Any:
        """The function's result; `given` are the leaves that are inputs."""
        if self.inlined is not None and local.segment.mode:
            found = self.record(given)
        else:
            found = self.run(given)
        return self.finish(found, given)

    def run(self, given: list[Any]) -> list[Any]:
        """The outputs, computed now."""
        arrays = [_array(x) for x in given]
        for outside in self.traced.outside:
            if isinstance(outside, Outside):
                arrays.append(_array(outside.found()))
            elif isinstance(outside, HostResult):
                arrays.append(None)
            else:
                generator, count = outside
                arrays.append(np.array([generator.seed_number, generator.offset], np.int64))
                generator.offset += count
        results = self.program.run(arrays)
        if self.program.is_checked:
            raise_anomaly()
        if self.is_static:
            return [concrete(array, type_) for array, type_ in zip(results, self.types, strict=True)]
        return [concrete(array, TensorType(type_.dtype, array.shape)) for array, type_ in zip(results, self.types, strict=True)]

    def record(self, given: list[Any]) -> list[Any]:
        """The outputs, recorded in the open segment."""
        assert self.inlined is not None
        tensors = [x if isinstance(x, TensorBase) else from_array(np.array(_array(x))) for x in given]
        tensors += [o.found() if isinstance(o, Outside) else local.segment.draw(*o) for o in self.traced.outside]
        segment = local.segment
        return segment.record_key(self.inlined, (self.inlined, True, *[segment.number_of(x) for x in tensors]))  # type: ignore[no-any-return]

    def finish(self, found: list[Any], given: list[Any]) -> Any:
        """Write back what the function did to tensors from outside; gives its result."""
        traced = self.traced
        for target, output in traced.written:
            x = target.found() if isinstance(target, Outside) else given[target]
            if not isinstance(x, TensorBase):
                np.copyto(x, found[output.index]._elements())
                continue
            _write_back(x, found[output.index])
        for owner, gradient in traced.grads:
            new = found[gradient.index] if isinstance(gradient, Output) else gradient
            if isinstance(owner, int):
                x = given[owner]
                if isinstance(x, TensorBase):
                    x._grad = new if x._grad is None else x._grad + new
            else:
                owner._grad = new
        for leaked, output in traced.leaked:
            value = found[output.index]
            leaked._array, leaked._segment, leaked._number = value._array, value._segment, value._number
            if value._array is None:
                value._segment.values[value._number] = leaked
        return tree.unflatten(traced.structure, [found[x.index] if isinstance(x, Output) else x for x in traced.leaves])


def _write_back(x: TensorBase, value: Any) -> None:
    """Let a tensor from outside have a value that the program computed."""
    extra = x._extra
    if value._array is None or (extra is not None and (extra.views or extra.base is not None or looked_into(x))):
        if extra is not None and extra.base is not None and extra.scatter is not None:
            write(x, value)
            return
        store(x, value, True)
    else:
        if x._segment is not None:
            local.segment.forget(x)
        x._array, x._segment, x._type, x._origin = value._array, None, value._type, None
    count_write(x)


def _array(x: Any) -> Any:
    if isinstance(x, TensorBase):
        array = x._array
        return array if array is not None else x._elements()
    if isinstance(x, np.ndarray):
        return x
    return np.asarray(x) if isinstance(x, np.generic) else np.asarray(x, carrier(type(x)).numpy)


class _Identity:
    """An object without a hash, as a key: equal to itself only."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.value is other.value


def kind_of(x: Leaf) -> Any:
    """What of a leaf decides the program: the type of an input; a static value itself."""
    if isinstance(x, TensorBase):
        return (x._type, x._requires_grad)
    if isinstance(x, np.ndarray) and x.dtype != object:
        return (TensorType(from_numpy(x.dtype), x.shape), False)
    cls = type(x)
    if cls is float or cls is int:
        return cls
    if isinstance(x, np.generic):
        return (TensorType(from_numpy(x.dtype), ()), False)
    try:
        hash(x)
    except TypeError:
        return ("static", _Identity(x))
    return ("static", cls, x)


def is_static(kind: Any) -> bool:
    """Whether a leaf of this kind is no input."""
    return isinstance(kind, tuple) and kind[0] == "static"


class JitFunction(functools.partial[Any]):
    """A function that `jit` compiles. It is called as the function is.

    It is a `partial` without arguments for the sake of its call, which is native code: it goes to `_call` or, after the first
    repetition, straight to the native entry, whose own fallback is `_call`.
    """

    def __new__(cls, function: Callable[..., Any], *_: Any) -> Self:
        """A partial object; `__init__` says what it calls."""
        return super().__new__(cls, function)

    def __init__(
        self, function: Callable[..., Any], static_argnums: Sequence[int], static_argnames: Sequence[str]
    ) -> None:
        functools.update_wrapper(self, function, updated=())
        self.function = function
        self.static_argnums, self.static_argnames = frozenset(static_argnums), frozenset(static_argnames)
        self._told: set[str] = set()
        """What the user was warned of."""
        self._cache: dict[Any, list[Entry]] = {}
        self._families: dict[Any, Family] = {}
        """By what a program depends on besides sizes."""
        self._for_all_sizes: Callable[..., Any] | None = None
        """The native entry of a program for several sizes: where calls go that the present one, for known sizes, does not take."""
        self._lock = threading.RLock()
        self._hits = self._misses = 0
        self._leaks: dict[Any, int] = {}
        """How often tensors have outlived the function, by what is in `_cache`'s keys."""
        self._enter(self._call)

    def _enter(self, function: Callable[..., Any]) -> None:
        """Let calls go to `function`."""
        self.__setstate__((function, (), {}, self.__dict__))

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        """The general way of a call, for every kind of arguments."""
        segment = local.segment
        if not segment.writes_memory or not switch.on or local.levels:
            return self.function(*args, **kwargs)
        leaves, structure = self._flatten(args, kwargs)
        kinds = tuple(map(kind_of, leaves))
        key = (structure, kinds, segment.mode, (defaults.dtype, checks()))
        is_flat = not kwargs and len(leaves) == len(args)
        for entry in self._cache.get(key, ()):
            if entry.fits():
                self._hits += 1
                if is_flat:
                    self._enter(entry.native(leaves, segment.mode, self._otherwise) or self._call)
                break
        else:
            found = self._promoted(key, leaves)
            entry = self._make(key, leaves, structure, kinds) if found is None else found
            if found is not None and is_flat:
                self._for_all_sizes = entry.native(leaves, segment.mode, self._call)
                self._enter(self._for_all_sizes or self._call)
        return entry.call([x for x, kind in zip(leaves, kinds, strict=True) if not is_static(kind)])

    def _otherwise(self, *args: Any, **kwargs: Any) -> Any:
        """Calls that the native entry for known sizes does not take."""
        return (self._for_all_sizes or self._call)(*args, **kwargs)

    def _promoted(self, key: Any, leaves: list[Any]) -> Entry | None:
        """The program for several sizes that serves a call, if there is one or it is time to make one."""
        structure, kinds, mode, dtype = key
        pattern, sizes = pattern_of(kinds)
        with self._lock:
            family = self._families.setdefault((structure, pattern, mode, dtype), Family())
            found = family.find(sizes)
            if found is None or not found[0].entry.fits():
                proposal = family.proposal(sizes)
                if proposal is None or not self._promote(family, proposal, key, leaves):
                    family.seen.append(sizes)
                    return None
                found = family.find(sizes)
                if found is None:  # the program assumes more than these sizes fulfil
                    family.seen.append(sizes)
                    return None
            else:
                self._hits += 1
            promoted, values = found
            promoted.entry.program.note_sizes(values)
            return promoted.entry  # type: ignore[no-any-return]

    def _promote(self, family: Family, sizes: Sequence[Size], key: Any, leaves: list[Any]) -> bool:
        """Make a program for several sizes; whether that was possible. Any error is left to the program for known sizes to tell."""
        structure, kinds, mode, _ = key
        names = ", ".join(sorted({str(size) for size in sizes if isinstance(size, Dim)}))
        try:
            entry = Entry(self._trace(leaves, structure, with_sizes(kinds, sizes), mode), self._name(), [])
        except Exception as error:
            why = str(error).partition("\n")[0]
        else:
            why = "tensors that it makes outlive it" if entry.once else "gradients flow out of it" if entry.inlined and mode else ""
        family.refused = bool(why)
        if why:
            note(f"{self._name()} is compiled for every size of its arguments", user_location(), why)
            return False
        self._misses += 1
        journal.traces += 1
        note(f"traced {self._name()} for all sizes {names}", user_location(), "sizes of its arguments have changed")
        family.programs.append(Promoted(sizes, entry, entry.program.graph))
        return True

    def _flatten(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], tree.Structure]:
        if self.static_argnums or self.static_argnames:
            args = tuple(_Static(x) if i in self._static_places(args) else x for i, x in enumerate(args))
            kwargs = {n: _Static(x) if n in self.static_argnames else x for n, x in kwargs.items()}
        if len(kwargs) > 1:
            kwargs = dict(sorted(kwargs.items()))
        return tree.flatten((args, kwargs))

    def _static_places(self, args: tuple[Any, ...]) -> set[int]:
        places = {i % len(args) for i in self.static_argnums if -len(args) <= i < len(args)}
        if self.static_argnames:
            names = list(inspect.signature(self.function).parameters)
            places |= {names.index(n) for n in self.static_argnames if n in names}
        return places

    def _make(self, key: Any, leaves: list[Any], structure: tree.Structure, kinds: tuple[Any, ...]) -> Entry:
        with self._lock:
            self._misses += 1
            entries = self._cache.setdefault(key, [])
            why = "its first call" if not self._cache or (len(self._cache) == 1 and not entries) else "arguments of a new kind"
            if entries:
                why = "what it takes from outside has changed"
            note(f"traced {self._name()}", user_location(), why)
            journal.traces += 1
            names = _names(self.function, structure)
            objects = {name: _known(x) for name, x, kind in zip(names, leaves, kinds, strict=True) if is_static(kind)}
            owner = getattr(self.function, "__self__", None if isinstance(self.function, FunctionType) else self.function)
            captured = Captured(self.function, objects | ({} if owner is None else {"self": owner}))
            attributes = Attributes(objects.values())
            traced = self._trace(leaves, structure, kinds, key[2])
            entry = Entry(traced, self._name(), list(leaves) if _has_identity(kinds) else [], attributes)
            if entry.once:
                note(f"{self._name()} will be traced again", user_location(), "tensors that it makes outlive it")
                self._leaks[key] = self._leaks.get(key, 0) + 1
                if self._leaks[key] > 2:  # once is an optimiser that makes its state
                    self._tell(f"keeps {_counted(traced.leaked)} outside, so every call traces it anew", "Return them instead.")
            else:
                entries.append(entry)
                for name in captured.changed():
                    self._tell(f"changed {name} outside while it was traced", "That happens when a program is made, not in every call.")
            return entry

    def _tell(self, what: str, more: str) -> None:
        """Warn of something, once."""
        if what not in self._told:
            self._told.add(what)
            text = compose(f"{self._name()} {what}", at=str(user_location()), todo=more)
            warnings.warn(text, SideEffectWarning, stacklevel=2)

    def _name(self) -> str:
        return str(getattr(self.function, "__name__", type(self.function).__name__))

    def _trace(self, leaves: list[Any], structure: tree.Structure, kinds: tuple[Any, ...], mode: bool) -> Traced:
        names = iter(_names(self.function, structure))

        def begin(trace: Trace) -> list[Any]:
            made = []
            for kind in kinds:
                name = next(names)
                if kind is float or kind is int:
                    made.append(trace.add_number(kind, name))
                elif not is_static(kind):
                    type_, requires_grad = kind
                    made.append(trace.add_argument(type_, requires_grad, name))
            if local.segment.outer.writes_memory:
                trace.given = [x for x, kind in zip(leaves, kinds, strict=True) if not is_static(kind)]
            return made

        def call(arguments: list[Any]) -> tuple[list[Any], tree.Structure]:
            inputs = iter(arguments)
            full = [x if is_static(kind) else next(inputs) for x, kind in zip(leaves, kinds, strict=True)]
            args, kwargs = tree.unflatten(structure, [x.value if isinstance(x, _Static) else x for x in full])
            return tree.flatten(self.function(*args, **kwargs))

        return run_traced(self._name(), mode, begin, call)

    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """The graph for these arguments, traced but not compiled."""
        leaves, structure = self._flatten(args, kwargs)
        return Lowered(self._trace(leaves, structure, tuple(map(kind_of, leaves)), local.segment.mode))

    def cache_info(self) -> CacheInfo:
        """How often a known program was called, how often one was made, and how many there are."""
        promoted = sum(len(family.programs) for family in self._families.values())
        return CacheInfo(self._hits, self._misses, sum(map(len, self._cache.values())) + promoted, promoted)

    def clear_cache(self) -> None:
        """Forget all programs."""
        self._cache.clear()
        self._families.clear()
        self._for_all_sizes = None
        self._enter(self._call)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.function, name)

    def __repr__(self) -> str:
        return f"<jit of {self.function!r}>"


class _Static:
    """A static argument on its way through `flatten`."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value
        try:
            hash(value)
        except TypeError as error:
            raise ArgumentError(compose(f"a static argument must be hashable: {error}", f"got {value!r}")) from None

    def __hash__(self) -> int:
        return hash((type(self.value), self.value))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Static) and type(self.value) is type(other.value) and bool(self.value == other.value)


def _known(x: Any) -> Any:
    """The object behind a static argument."""
    return x.value if isinstance(x, _Static) else x


def _counted(leaked: Sequence[Any]) -> str:
    return f"{len(leaked)} tensor{'s' if len(leaked) > 1 else ''}"


def _has_identity(kinds: tuple[Any, ...]) -> bool:
    return any(is_static(k) and isinstance(k[-1], _Identity) for k in kinds)


def _names(function: Any, structure: tree.Structure) -> list[str]:
    """A name for each leaf of the arguments: the parameter's, with a count where it holds several."""
    try:
        parameters = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        parameters = []
    args, kwargs = structure.children
    named = [(parameters[i] if i < len(parameters) else f"a{i}", c) for i, c in enumerate(args.children)]
    named += [(str(name), c) for name, c in zip(kwargs.more or (), kwargs.children, strict=True)]  # type: ignore[call-overload]
    return [name if child.leaves == 1 else f"{name}_{k}" for name, child in named for k in range(child.leaves)]


class Lowered:
    """A traced function that is not compiled yet."""

    def __init__(self, traced: Traced) -> None:
        self.traced = traced
        self.graph = traced.graph

    def text(self) -> str:
        """The graph as text."""
        return to_text(self.graph)

    def compile(self) -> Entry:
        """The compiled program."""
        return Entry(self.traced, self.graph.name, [])

    def __repr__(self) -> str:
        return self.text()


def jit(
    function: Callable[..., Any] | None = None,
    *,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
    donate: int | Sequence[int] = (),
) -> Any:
    """The function, compiled as a whole for each kind of arguments; also as a decorator, with or without arguments.

    `static_argnums` and `static_argnames` make arguments part of the program: Python may decide by them. `donate`, the arguments whose
    memory a call may use again, is not built: `Unsupported`. What a function changes outside (a counter, a list) changes when it is
    traced, and not in every call: a `SideEffectWarning` names it. Tensors are another matter: they are written back in every call.
    """
    if donate != ():
        raise Unsupported(
            compose(
                "jit(donate=...): arguments cannot be donated yet",
                todo="Leave it out. Tensors that the function writes in place (x.add_(y), an optimiser's step) need no second copy.",
            )
        )
    if function is None:
        return lambda f: jit(f, static_argnums=static_argnums, static_argnames=static_argnames)
    if not callable(function):
        raise ArgumentError(f"jit takes a function or a Module, not {type(function).__name__}")
    nums = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)
    names = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames)
    return JitFunction(function, nums, names)
