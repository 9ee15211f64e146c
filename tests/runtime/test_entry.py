"""The emitted entry: what it takes, what it refuses, what it leaves behind."""

from __future__ import annotations

import gc
import re
import sys
import threading
import weakref
from typing import Any

import numpy as np
import pytest

from rustorch.artifact import ArgSpec, Result, Signature, Source
from rustorch.codegen.assemble import assemble
from rustorch.codegen.emit_entry import POOLED_BYTES, emit_entry
from rustorch.errors import CompilerBug, Unsupported
from rustorch.runtime import buffer, layout
from rustorch.runtime.entry import Epoch, make_entry
from rustorch.runtime.loader import load
from tests.runtime.kernels import (
    ADD_ONE_I64,
    ARRAY,
    ARRAYS,
    CHECKED,
    CONCRETE,
    DESCEND,
    NOTHING,
    SLOTS,
    TARGET,
    TENSOR,
    THROUGH_WORK,
    Odd,
    Tensor,
    array,
    builtin,
    counting,
    double_and_sum,
    f32,
    f64,
    loaded,
    misaligned,
    planned,
    slow,
    tensor,
)

pytestmark = pytest.mark.skipif(layout.probe() is None, reason="no known object layout here: calls go through ctypes")

TENSORS = Signature(1, (f32("x", 8),), (tensor(0),), (f32("s"), f32("y", 8)), (TENSOR, TENSOR), slots=SLOTS)
SYMBOLIC = Signature(1, (f32("x", "n"),), (array(0),), (f32("s"), f32("y", "n")), (ARRAY, ARRAY), dims=("n",))


class Child(Tensor):
    __slots__ = ()


def pending(value: Any) -> Tensor:
    t = Tensor(value)
    t.pending = "recorded"
    return t


# Arrays


def test_arrays_in_arrays_out() -> None:
    s, y = builtin(double_and_sum(8), ARRAYS)(counting())
    assert (type(s), s.dtype, s.shape, float(s)) == (np.ndarray, np.float32, (), 28.0)
    assert (type(y), y.dtype, y.tolist()) == (np.ndarray, np.float32, [2.0 * k for k in range(8)])
    assert y.flags.owndata and y.flags.writeable and y.flags.c_contiguous


@pytest.mark.parametrize(
    "refused",
    [
        counting(8, np.float64),
        counting(8, np.int32),
        counting(8, ">f4"),
        counting(9),
        counting(0),
        counting().reshape(2, 4),
        np.float32(3),
        np.array(3, np.float32),
        counting(16)[::2],
        counting()[::-1],
        misaligned(8),
        counting().view(Odd),
        [1.0] * 8,
        3.0,
        None,
        Tensor(counting()),
    ],
    ids=lambda x: f"{type(x).__name__}-{getattr(x, 'dtype', '')}{getattr(x, 'shape', '')}{getattr(x, 'strides', '')}",
)
def test_what_is_not_the_array_goes_to_the_fallback(refused: Any) -> None:
    name, args, keywords = builtin(double_and_sum(8), ARRAYS)(refused)
    assert name == "slow" and args[0] is refused and len(args) == 1 and keywords == {}


@pytest.mark.parametrize("count", [0, 2, 3])
def test_another_number_of_arguments_goes_to_the_fallback(count: int) -> None:
    x = counting()
    name, args, _ = builtin(double_and_sum(8), ARRAYS)(*[x] * count)
    assert name == "slow" and len(args) == count and all(one is x for one in args)


def test_read_only_inputs_are_read() -> None:
    x = counting()
    x.flags.writeable = False
    assert float(builtin(double_and_sum(8), ARRAYS)(x)[0]) == 28.0


def test_the_fallback_may_raise() -> None:
    def refuse(*_: Any) -> None:
        raise KeyError("no")

    with pytest.raises(KeyError, match="no"):
        builtin(double_and_sum(8), ARRAYS, refuse)(3)


def test_keywords() -> None:
    with pytest.raises(TypeError, match="keyword"):
        builtin(double_and_sum(8), ARRAYS)(x=counting())
    signature = Signature(1, ARRAYS.inputs, ARRAYS.sources, ARRAYS.outputs, ARRAYS.results, keywords=True)
    f = builtin(double_and_sum(8), signature)
    assert f(x=3) == ("slow", (), {"x": 3})
    assert f(1, b=2) == ("slow", (1,), {"b": 2})
    assert float(f(counting())[0]) == 28.0


def test_large_results_are_aligned() -> None:
    count = 5000
    signature = Signature(1, (f32("x", count),), (array(0),), (f32("s"), f32("y", count)), (ARRAY, ARRAY))
    y = builtin(double_and_sum(count), signature)(counting(count))[1]
    assert y.ctypes.data % 64 == 0
    assert (y == 2 * counting(count)).all()
    assert y.flags.c_contiguous and y.flags.f_contiguous and y.flags.aligned and y.flags.writeable
    block = weakref.ref(y.base)
    del y
    assert block() is None


# Sizes


@pytest.mark.parametrize("count", [2, 3, 100, 10_000])
def test_a_symbolic_size(count: int) -> None:
    s, y = builtin(double_and_sum(None), SYMBOLIC)(counting(count))
    assert float(s) == counting(count).cumsum()[-1]
    assert y.tolist() == (2 * counting(count)).tolist()
    assert (y.ctypes.data % 64 == 0) or count < 10_000


@pytest.mark.parametrize("count", [0, 1])
def test_sizes_below_the_least_go_to_the_fallback(count: int) -> None:
    assert builtin(double_and_sum(None), SYMBOLIC)(counting(count))[0] == "slow"


def test_empty_arrays() -> None:
    signature = Signature(1, (f32("x", "n"),), (array(0),), (f32("s"), f32("y", "n")), (ARRAY, ARRAY), dims=("n",), least=0)
    s, y = builtin(double_and_sum(None), signature)(counting(0))
    assert float(s) == 0.0 and y.shape == (0,)
    static = Signature(1, (f32("x", 0, 3),), (array(0),), (f32("s"), f32("y", 0, 3)), (ARRAY, ARRAY))
    assert builtin(double_and_sum(0), static)(np.zeros((0, 3), np.float32))[1].shape == (0, 3)


EXPRESSIONS = Signature(
    2,
    (f32("x", "n"), f32("w", "m", "2*n + 1", "floordiv(n - 5, 2)")),
    (array(0), array(1)),
    (f32("y", "n"), f32("z", "mod(n - 5, 3)", "max(m, n)", "min(m, 3)")),
    (ARRAY, ARRAY),
    dims=("n", "m"),
    least=0,
)


@pytest.mark.parametrize(("n", "m"), [(5, 2), (7, 9), (8, 0), (12, 12)])
def test_sizes_that_are_expressions(n: int, m: int) -> None:
    w = np.zeros((m, 2 * n + 1, (n - 5) // 2), np.float32)
    y, z = builtin(NOTHING, EXPRESSIONS)(counting(n), w)
    assert y.shape == (n,) and z.shape == ((n - 5) % 3, max(m, n), min(m, 3))
    assert builtin(NOTHING, EXPRESSIONS)(counting(n + 1), w)[0] == "slow"


def test_rounding_is_pythons_below_zero() -> None:
    outputs = (f32("y", "floordiv(n - 5, 2) + 4", "mod(n - 5, 3)"),)
    signature = Signature(1, (f32("x", "n"),), (array(0),), outputs, (ARRAY,), dims=("n",), least=0)
    for n in range(8):
        assert builtin(NOTHING, signature)(counting(n)).shape == ((n - 5) // 2 + 4, (n - 5) % 3)


def test_equal_names_must_agree() -> None:
    signature = Signature(2, (f32("x", "n"), f32("y", 3, "n")), (array(0), array(1)), (f32("z", "n"),), (ARRAY,), dims=("n",))
    f = builtin(NOTHING, signature)
    assert f(counting(4), np.zeros((3, 4), np.float32)).shape == (4,)
    assert f(counting(4), np.zeros((3, 5), np.float32))[0] == "slow"
    assert f(counting(4), np.zeros((2, 4), np.float32))[0] == "slow"


def test_a_negative_size_goes_to_the_fallback() -> None:
    signature = Signature(1, (f32("x", "n"),), (array(0),), (f32("y", "n - 5"),), (ARRAY,), dims=("n",))
    assert builtin(NOTHING, signature)(counting(6)).shape == (1,)
    assert builtin(NOTHING, signature)(counting(4))[0] == "slow"


# Tensors


def test_tensors_in_tensors_out() -> None:
    s, y = builtin(double_and_sum(8), TENSORS)(Tensor(counting()))
    assert type(s) is Tensor and type(y) is Tensor
    assert (float(s.value), y.value.tolist()) == (28.0, [2.0 * k for k in range(8)])
    assert (y.pending, y.grad, y.version) == (None, None, 0)
    assert gc.is_tracked(y)


@pytest.mark.parametrize(
    "refused",
    [
        counting(),
        pending(counting()),
        object.__new__(Tensor),
        Child(counting()),
        Tensor(None),
        Tensor(3.0),
        Tensor(counting(9)),
        Tensor(counting(8, np.int64)),
        "x",
    ],
    ids=["array", "pending", "blank", "subclass", "none", "float", "size", "dtype", "str"],
)
def test_what_is_not_the_tensor_goes_to_the_fallback(refused: Any) -> None:
    name, args, _ = builtin(double_and_sum(8), TENSORS)(refused)
    assert name == "slow" and args[0] is refused


def test_one_result_alone_in_a_tuple_or_none() -> None:
    inputs, sources, outputs = (f32("x"),), (array(0),), (f32("y"),)
    x = np.array(2, np.float32)
    assert builtin(CHECKED, Signature(1, inputs, sources, outputs, (ARRAY,)))(x) == 2.0
    assert builtin(CHECKED, Signature(1, inputs, sources, outputs, (ARRAY,), as_tuple=True))(x) == (2.0,)
    assert builtin(NOTHING, Signature(0, (), (), (), ()))() is None
    assert builtin(NOTHING, Signature(0, (), (), (), (), as_tuple=True))() == ()


# Numbers and constants


@pytest.mark.parametrize(("dtype", "value"), [("f32", 0.1), ("f64", 0.1), ("f32", 1e300), ("f64", float("-inf"))])
def test_python_floats(dtype: str, value: float) -> None:
    signature = Signature(1, (ArgSpec("x", dtype, ()),), (Source("float", 0),), (ArgSpec("y", dtype, ()),), (ARRAY,))
    f = builtin(ADD_ONE_I64.replace("i64 %x, 1", "i64 %x, 0").replace(" i64", {"f32": " i32", "f64": " i64"}[dtype]), signature)
    with np.errstate(over="ignore"):
        assert f(value) == buffer.DTYPES[dtype].type(value)
    for refused in (1, True, np.float64(0.1), "1.0", None):
        assert f(refused)[0] == "slow"


def test_python_ints() -> None:
    signature = Signature(1, (ArgSpec("x", "i64", ()),), (Source("int", 0),), (ArgSpec("y", "i64", ()),), (ARRAY,))
    f = builtin(ADD_ONE_I64, signature)
    assert [int(f(value)) for value in (0, -1, 41, -(2**63), 2**63 - 2)] == [1, 0, 42, 1 - 2**63, 2**63 - 1]
    for refused in (2**63, -(2**63) - 1, 10**40, True, 1.0, np.int64(1)):
        assert f(refused)[0] == "slow"
    narrow = builtin(NOTHING, Signature(1, (ArgSpec("x", "i32", ()),), (Source("int", 0),), (), ()))
    assert narrow(2**31 - 1) is None and narrow(-(2**31)) is None
    assert narrow(2**31)[0] == "slow" and narrow(-(2**31) - 1)[0] == "slow"


def test_ints_as_floats() -> None:
    signature = Signature(1, (f32("x"),), (Source("int", 0),), (f32("y"),), (ARRAY,))
    assert builtin(CHECKED, signature)(16_777_219) == np.float32(16_777_220)


def test_constant_arguments_are_compared_by_identity() -> None:
    signature = Signature(2, (f32("x"),), (array(1),), (f32("y"),), (ARRAY,), constants=((0, "mode"),))
    mode, x = object(), np.array(2, np.float32)
    f = builtin(CHECKED, signature, objects={"mode": mode})
    assert f(mode, x) == 2.0
    assert f(object(), x)[0] == "slow"


def test_an_epoch_that_moved_goes_to_the_fallback() -> None:
    counter = np.array([3])
    f = builtin(CHECKED, Signature(1, (f32("x"),), (array(0),), (f32("y"),), (ARRAY,), epoch=True), epoch=Epoch(counter))
    x = np.array(2, np.float32)
    assert f(x) == 2.0
    counter[0] += 1
    assert f(x)[0] == "slow"


# Captured tensors

STEP = Signature(
    2,
    (f32("p", 4), f32("g", 4), f32("rate")),
    (Source("captured", 0, CONCRETE), tensor(0), Source("float", 1)),
    (f32("loss"), f32("p", 4)),
    (TENSOR, Result("captured", 0, CONCRETE)),
    slots=SLOTS,
)


def test_captured_tensors_are_read_and_written() -> None:
    p, g = Tensor(np.ones(4, np.float32)), Tensor(counting(4))
    old = p.value
    f = builtin(DESCEND, STEP, captured=[p])
    loss = f(g, 0.5)
    assert (float(loss.value), p.version) == (4.0, 1)
    assert p.value is not old and old.tolist() == [1, 1, 1, 1]
    assert p.value.tolist() == [1, 0.5, 0, -0.5]
    assert float(f(g, 0.5).value) == 1.0 and p.version == 2
    p.value = np.zeros(4, np.float32)  # bound anew from outside
    assert float(f(g, 0.5).value) == 0.0


def test_versions_are_ints_of_any_size() -> None:
    p = Tensor(np.ones(4, np.float32))
    p.version = 2**70
    builtin(DESCEND, STEP, captured=[p])(Tensor(counting(4)), 0.5)
    assert p.version == 2**70 + 1


@pytest.mark.parametrize("spoil", ["value", "pending", "shape", "version", "absent version", "rate"])
def test_nothing_is_written_when_a_check_fails(spoil: str) -> None:
    p, rate = Tensor(np.ones(4, np.float32)), 0.5
    f = builtin(DESCEND, STEP, captured=[p])
    if spoil == "value":
        del p.value
    elif spoil == "pending":
        p.pending = "recorded"
    elif spoil == "shape":
        p.value = np.ones(5, np.float32)
    elif spoil == "version":
        p.version = "one"
    elif spoil == "absent version":
        del p.version
    else:
        rate = 1
    before = [getattr(p, slot, "absent") for slot in Tensor.__slots__[:4]]
    assert f(Tensor(counting(4)), rate)[0] == "slow"
    after = [getattr(p, slot, "absent") for slot in Tensor.__slots__[:4]]
    assert all(old is new for old, new in zip(before, after, strict=True))


def test_a_check_inside_the_graph_goes_to_the_fallback() -> None:
    p = Tensor(np.array(-1, np.float32))
    signature = Signature(0, (f32("x"),), (Source("captured", 0),), (f32("x"),), (Result("captured", 0),), slots=SLOTS)
    f = builtin(CHECKED, signature, captured=[p])
    before = p.value
    references = sys.getrefcount(before)
    assert f()[0] == "slow"
    now = sys.getrefcount(before)
    assert (now, p.version) == (references, 0) and p.value is before
    p.value = np.array(1, np.float32)
    assert f() is None and p.version == 1


# References and threads


def test_no_reference_is_lost_or_kept() -> None:
    p, g = Tensor(np.ones(4, np.float32)), Tensor(np.zeros(4, np.float32))
    step = builtin(DESCEND, STEP, captured=[p])
    released = builtin(DESCEND, Signature(**{**vars(STEP), "cost": 1 << 20}), captured=[p])
    both = builtin(double_and_sum(8), TENSORS)
    arrays = builtin(double_and_sum(8), ARRAYS)
    x, t = counting(), Tensor(counting())
    number = 0.123
    watched = [p, g, g.value, x, t, t.value, number, Tensor, np.ndarray, np.dtype(np.float32), step, both, slow, None, 0, 1]

    def rounds(count: int) -> None:
        for _ in range(count):
            step(g, number)
            released(g, number)
            both(t)
            arrays(x)
            arrays(t)
            both(x)
            step(g, 3)

    rounds(100)
    before = [sys.getrefcount(one) for one in watched]
    blocks = sys.getallocatedblocks()
    rounds(100_000)
    after = [sys.getrefcount(one) for one in watched]
    drift = [new - old for new, old in zip(after, before, strict=True)]
    assert all(abs(change) < 50 for change in drift), drift  # None and small ints are used by everybody
    assert abs(sys.getallocatedblocks() - blocks) < 1000


def test_results_and_inputs_die() -> None:
    f = builtin(double_and_sum(8), TENSORS)
    s, y = f(Tensor(counting()))
    refs = [weakref.ref(one) for one in (s, y, y.value)]
    del s, y
    assert [ref() for ref in refs] == [None, None, None]


def test_an_entry_owns_what_it_needs_and_no_more() -> None:
    p = Tensor(np.ones(4, np.float32))
    ref = weakref.ref(p)
    f = builtin(DESCEND, STEP, captured=[p])
    del p
    gc.collect()
    assert ref() is not None and float(f(Tensor(counting(4)), 0.5).value) == 4.0
    del f
    assert ref() is None


def test_an_entry_in_a_cycle_is_collected() -> None:
    class Owner:
        f: Any

        def refuse(self, *_: Any) -> Owner:
            return self

    owner = Owner()
    gone = weakref.ref(owner)
    owner.f = builtin(double_and_sum(8), ARRAYS, owner.refuse)
    assert owner.f(3) is owner
    del owner
    gc.collect()
    assert gone() is None


def test_code_outlives_finalizers_that_call_it() -> None:
    """All finalizers of a piece of garbage run before its code may go, and one may bring the entry back to life."""
    source = double_and_sum(8) + "; a module of its own\n"
    plan, _ = planned(ARRAYS)
    rescued: list[Any] = []

    class Last:
        f: Any
        code: Any

        def __del__(self) -> None:
            assert float(self.f(counting())[0]) == 28.0
            rescued.append(self.f)

    last = Last()
    code, driver = load(assemble(plan.text, TARGET), [plan.symbol]), load(assemble(source, TARGET), ["f"])
    last.code = (code, driver, last)
    last.f = make_entry(plan, code, driver, "f", slow)
    del last, code, driver
    gc.collect()
    assert float(rescued[0](counting())[0]) == 28.0


WORK = Signature(
    1,
    (f64("x", "n"),),
    (array(0),),
    (f64("y", "n"),),
    (ARRAY,),
    dims=("n",),
    work_bytes="8*n",
    cost="16*n",
    release_above=1 << 12,
)


def test_the_arena_grows() -> None:
    f = builtin(THROUGH_WORK, WORK)
    for count in (2, 100, 70_000, 3, 200_000):
        assert (f(counting(count, np.float64)) == 3 * counting(count, np.float64)).all()
    assert buffer.ARENA.capacity >= 1_600_000 and buffer.ARENA.busy == 0


def test_a_busy_arena_goes_to_the_fallback() -> None:
    f = builtin(THROUGH_WORK, WORK)
    buffer.ARENA.busy = 1
    try:
        assert f(counting(4, np.float64))[0] == "slow"
    finally:
        buffer.ARENA.busy = 0
    assert f(counting(4, np.float64)).tolist() == [0, 3, 6, 9]


@pytest.mark.parametrize("size", [1, 64, 65, 1000, 4096, 5000, 100_000])
def test_static_workspaces(size: int) -> None:
    count = size // 8
    signature = Signature(1, (f64("x", "n"),), (array(0),), (f64("y", "n"),), (ARRAY,), dims=("n",), least=0, work_bytes=size)
    assert builtin(THROUGH_WORK, signature)(counting(count, np.float64)).tolist() == (3 * counting(count, np.float64)).tolist()


def test_threads_hammer_one_entry() -> None:
    """With and without the interpreter's lock, through one arena: every answer is right, whichever way a call went."""
    refused = 0

    def python(x: Any) -> Any:
        nonlocal refused
        refused += 1
        return 3 * x

    f = builtin(THROUGH_WORK, WORK, python)
    wrong: list[int] = []

    def hammer(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(400):
            x = rng.random(int(rng.integers(2, 20_000)))
            if not (f(x) == 3 * x).all():
                wrong.append(len(x))

    threads = [threading.Thread(target=hammer, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and refused < 1600 and buffer.ARENA.busy == 0


def test_inputs_live_until_an_unlocked_kernel_returns() -> None:
    """While the kernel waits, another thread drops the only other reference to the input's array."""
    wait = NOTHING.replace(
        "  ret i32 0",
        """  br label %spin
spin:
  %word = load ptr, ptr %args
  %now = load atomic i64, ptr %word acquire, align 8
  %go = icmp eq i64 %now, 1
  br i1 %go, label %done, label %spin
done:
  ret i32 0""",
    )
    signature = Signature(1, (ArgSpec("x", "i64", (1,)),), (tensor(0),), (), (), slots=SLOTS, cost=1 << 20)
    f = builtin(wait, signature)
    cell = np.zeros(1, np.int64)  # outlives the tensor's array, which is a view
    t = Tensor(cell[:])
    alive = weakref.ref(t.value)
    thread = threading.Thread(target=f, args=(t,))
    thread.start()
    try:
        for _ in range(1000):
            if held := sys.getrefcount(t.value) >= 3:  # the slot, this argument, and the entry
                break
            thread.join(0.001)
        t.value = None
        assert held and alive() is not None
    finally:
        cell[0] = 1
        thread.join(10)
    assert not thread.is_alive() and alive() is None


# Mistakes of the compiler


def test_wrong_signatures_are_compiler_bugs() -> None:
    found = layout.probe()
    assert found is not None
    slots = layout.slot_offsets(Tensor)
    with pytest.raises(CompilerBug, match="one source for each input"):
        emit_entry(Signature(1, (f32("x"),), (), (), ()), found)
    with pytest.raises(CompilerBug, match="Python float cannot become i64"):
        emit_entry(Signature(1, (ArgSpec("x", "i64", ()),), (Source("float", 0),), (), ()), found)
    with pytest.raises(CompilerBug, match="twice"):
        emit_entry(Signature(0, (), (), (f32("x"), f32("y")), (Result("captured", 0), Result("captured", 0)), slots=SLOTS), found, slots)
    with pytest.raises(CompilerBug, match="offset of the slots value"):
        emit_entry(TENSORS, found, {})
    with pytest.raises(Unsupported, match="dimension n"):
        emit_entry(Signature(1, (f32("x", "2*n"),), (array(0),), (), (), dims=("n",)), found)


def test_missing_objects_are_compiler_bugs() -> None:
    plan, code = planned(STEP)
    with pytest.raises(CompilerBug, match="1 captured tensors are needed"):
        make_entry(plan, code, loaded(DESCEND), "f", slow, tensor_type=Tensor)
    with pytest.raises(CompilerBug, match="captured tensors are needed, got \\['int'\\]"):
        make_entry(plan, code, loaded(DESCEND), "f", slow, tensor_type=Tensor, captured=[3])
    with pytest.raises(CompilerBug, match=r"needs object\.none"):
        make_entry(plan, code, loaded(DESCEND), "f", slow, tensor_type=Tensor, captured=[Tensor(None)])


def test_one_text_for_graphs_of_one_signature() -> None:
    found = layout.probe()
    assert found is not None
    other = Signature(1, (f32("q", 8),), (array(0),), (f32("a"), f32("b", 8)), (ARRAY, ARRAY), work_bytes=0)
    assert emit_entry(ARRAYS, found).text == emit_entry(other, found).text
    text = emit_entry(TENSORS, found, layout.slot_offsets(Tensor)).text
    assert re.findall(r"\b\d{6,}\b", text) == [str(POOLED_BYTES)], "an address stands in the text"
