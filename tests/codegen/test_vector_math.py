"""The expansions, compiled as LLVM vectors and run over arrays, against numpy and mpmath: errors in ulp, and special values."""

from __future__ import annotations

import ctypes
import functools
import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import mpmath as mp
import numpy as np
import pytest
import scipy.special

from rustorch.codegen.expand_math import EXPANSIONS, WITHIN
from rustorch.codegen.target import LEVELS, Target, host_level

SCALARS = {"f32": "float", "f64": "double", "i32": "i32", "i64": "i64", "i1": "i1"}


@dataclass(frozen=True)
class Lanes:
    name: str
    dtype: str


@dataclass
class TextBuilder:
    """The loop-level builder's vector operations as LLVM text, `lanes` wide."""

    lanes: int
    has_fma: bool
    lines: list[str] = field(default_factory=list)
    declared: set[str] = field(default_factory=set)
    count: int = 0
    block: str = "body"

    def __getattr__(self, name: str) -> Callable[..., Lanes]:
        raise AttributeError(name)

    def vector(self, dtype: str) -> str:
        return f"<{self.lanes} x {SCALARS[dtype]}>"

    def let(self, dtype: str, text: str) -> Lanes:
        self.count += 1
        self.lines.append(f"  %v{self.count} = {text}")
        return Lanes(f"%v{self.count}", dtype)

    def const(self, value: Any, like: Lanes) -> Lanes:
        if like.dtype in ("f32", "f64"):
            number = struct.unpack("f", struct.pack("f", value))[0] if like.dtype == "f32" else float(value)
            text = f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"
        else:
            assert isinstance(value, int)
            width = int(like.dtype[1:])
            assert -(1 << (width - 1)) <= value < 1 << (width - 1)
            text = str(value)
        return Lanes(f"splat ({SCALARS[like.dtype]} {text})", like.dtype)

    def operands(self, *xs: Any) -> list[Lanes]:
        like = next(x for x in xs if isinstance(x, Lanes))
        values = [x if isinstance(x, Lanes) else self.const(x, like) for x in xs]
        assert len({x.dtype for x in values}) == 1, values
        return values

    def element(self, x: Lanes) -> str:
        return x.dtype

    def call(self, name: str, *xs: Any) -> Lanes:
        values = self.operands(*xs)
        dtype = values[0].dtype
        v = self.vector(dtype)
        function = f"@llvm.{name}.v{self.lanes}{dtype}"
        self.declared.add(f"declare {v} {function}({', '.join([v] * len(values))})")
        return self.let(dtype, f"call {v} {function}({', '.join(f'{v} {x.name}' for x in values)})")

    def binary(self, float_op: str | None, int_op: str | None, x: Any, y: Any) -> Lanes:
        x, y = self.operands(x, y)
        op = float_op if x.dtype[0] == "f" else int_op
        assert op is not None
        return self.let(x.dtype, f"{op} {self.vector(x.dtype)} {x.name}, {y.name}")

    def compare(self, float_op: str, int_op: str, x: Any, y: Any) -> Lanes:
        x, y = self.operands(x, y)
        op = f"fcmp {float_op}" if x.dtype[0] == "f" else f"icmp {int_op}"
        return self.let("i1", f"{op} {self.vector(x.dtype)} {x.name}, {y.name}")

    def select(self, mask: Lanes, x: Any, y: Any) -> Lanes:
        x, y = self.operands(x, y)
        v = self.vector(x.dtype)
        return self.let(x.dtype, f"select {self.vector('i1')} {mask.name}, {v} {x.name}, {v} {y.name}")

    def fma(self, x: Any, y: Any, z: Any) -> Lanes:
        assert self.has_fma
        return self.call("fma", x, y, z)

    def bitcast(self, x: Lanes, dtype: str) -> Lanes:
        return self.let(dtype, f"bitcast {self.vector(x.dtype)} {x.name} to {self.vector(dtype)}")

    def convert(self, x: Lanes, dtype: str) -> Lanes:
        op = {"f32f64": "fpext", "f64f32": "fptrunc", "f32i32": "fptosi", "i32f32": "sitofp", "i32i64": "sext", "i64i32": "trunc"}
        return self.let(dtype, f"{op[x.dtype + dtype]} {self.vector(x.dtype)} {x.name} to {self.vector(dtype)}")

    def neg(self, x: Lanes) -> Lanes:
        return self.let(x.dtype, f"fneg {self.vector(x.dtype)} {x.name}")

    def rarely(self, mask: Lanes, otherwise: Lanes, compute: Callable[[TextBuilder], Lanes]) -> Lanes:
        self.count += 1
        then, end, before = f"then{self.count}", f"end{self.count}", self.block
        bits = self.let("i1", f"bitcast {self.vector('i1')} {mask.name} to i{self.lanes}")
        some = self.let("i1", f"icmp ne i{self.lanes} {bits.name}, 0")
        self.lines += [f"  br i1 {some.name}, label %{then}, label %{end}", f"{then}:"]
        self.block = then
        x = compute(self)
        self.lines += [f"  br label %{end}", f"{end}:"]
        after, self.block = self.block, end
        return self.let(x.dtype, f"phi {self.vector(x.dtype)} [{x.name}, %{after}], [{otherwise.name}, %{before}]")


def _methods() -> Iterator[tuple[str, Callable[..., Lanes]]]:
    for name, f, i in (("add", "fadd", "add"), ("sub", "fsub", "sub"), ("mul", "fmul", "mul"), ("div", "fdiv", None),
                       ("and_", None, "and"), ("or_", None, "or"), ("xor", None, "xor"), ("shl", None, "shl"),
                       ("shr_logical", None, "lshr"), ("shr_arith", None, "ashr")):
        yield name, functools.partialmethod(TextBuilder.binary, f, i)  # type: ignore[misc]
    for name in ("lt", "le", "gt", "ge"):
        yield name, functools.partialmethod(TextBuilder.compare, f"o{name}", f"s{name}")  # type: ignore[misc]
    yield "eq", functools.partialmethod(TextBuilder.compare, "oeq", "eq")  # type: ignore[misc]
    yield "ne", functools.partialmethod(TextBuilder.compare, "une", "ne")  # type: ignore[misc]
    for name, intrinsic in (("abs", "fabs"), ("sqrt", "sqrt"), ("floor", "floor"), ("round_even", "rint"), ("copysign", "copysign")):
        yield name, functools.partialmethod(TextBuilder.call, intrinsic)  # type: ignore[misc]


for _name, _method in _methods():
    setattr(TextBuilder, _name, _method)
del TextBuilder.__getattr__




LEVELS_HERE = [level for level in LEVELS if level <= host_level()]


@dataclass(frozen=True)
class Compiled:
    """An expansion as a numpy function of arrays of one dtype."""

    native: Callable[..., None]
    lanes: int
    assembly: str
    engine: Any

    def __call__(self, *xs: np.ndarray) -> np.ndarray:
        n = xs[0].size
        padded = [np.concatenate([x, np.repeat(x[-1:], -n % self.lanes)]) for x in xs]
        y = np.empty_like(padded[0])
        self.native(y.size, y.ctypes.data, *[x.ctypes.data for x in padded])
        return y[:n]


@functools.cache
def _machine(level: str) -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = LEVELS[level]
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=target.cpu, features=target.features, opt=2, reloc="pic", jit=True)


@functools.cache
def compiled(expand: Callable[..., Any], operands: int, dtype: str, level: str) -> Compiled:
    import llvmlite.binding as llvm

    target: Target = LEVELS[level]
    align = 4 if dtype == "f32" else 8
    lanes = target.vector_bytes // align
    b = TextBuilder(lanes, target.has_fma)
    v, scalar = b.vector(dtype), SCALARS[dtype]
    y = expand(b, *(b.let(dtype, f"load {v}, ptr %p{i}, align {align}") for i in range(operands)))
    assert y.dtype == dtype
    body = "\n".join(b.lines)
    pointers = "\n".join(f"  %p{i} = getelementptr {scalar}, ptr %x{i}, i64 %i" for i in range(operands))
    inputs = ", ".join(f"ptr noalias %x{i}" for i in range(operands))
    module = llvm.parse_assembly(f"""
define void @f(i64 %n, ptr noalias %y, {inputs}) nounwind "no-builtins" "prefer-vector-width"="512" {{
entry:
  br label %body
body:
  %i = phi i64 [0, %entry], [%next, %{b.block}]
{pointers}
{body}
  %q = getelementptr {scalar}, ptr %y, i64 %i
  store {v} {y.name}, ptr %q, align {align}
  %next = add i64 %i, {lanes}
  %more = icmp slt i64 %next, %n
  br i1 %more, label %body, label %exit
exit:
  ret void
}}
""" + "\n".join(sorted(b.declared)))
    module.verify()
    assembly = _machine(level).emit_assembly(module)
    engine = llvm.create_mcjit_compiler(module, _machine(level))
    engine.finalize_object()
    native = ctypes.CFUNCTYPE(None, ctypes.c_int64, *[ctypes.c_void_p] * (operands + 1))(engine.get_function_address("f"))
    return Compiled(native, lanes, assembly, engine)


def run(name: str, level: str, *xs: np.ndarray) -> np.ndarray:
    e = EXPANSIONS[name]
    return compiled(e.expand, e.operands, {"float32": "f32", "float64": "f64"}[xs[0].dtype.name], level)(*xs)


# --- measuring --------------------------------------------------------------------------------------------------------------


def ulps(got: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """|got - exact| in units in the last place of `exact`, which has a wider type; infinite where NaN, sign or infinity differ.

    Beyond the largest number, results and exact values alike count as the power of two that follows it.
    """
    limits, wide = np.finfo(got.dtype), exact.dtype.type
    over = wide(2) ** limits.maxexp
    with np.errstate(all="ignore"):
        exponents = np.clip(np.frexp(exact)[1] - 1, limits.minexp, limits.maxexp - 1)
        unit = np.ldexp(wide(1), exponents - limits.nmant)
        error = np.abs(np.clip(got.astype(wide), -over, over) - np.clip(exact, -over, over)) / unit
    nan = np.isnan(exact)
    wrong = (np.isnan(got) != nan) | ((np.signbit(got) != np.signbit(exact)) & ~nan) | (np.isinf(exact) & (got != exact))
    return np.where(wrong, np.inf, np.where(nan, 0, error)).astype(np.float64)


def check(name: str, level: str, exact: np.ndarray, *xs: np.ndarray) -> None:
    dtype = {"float32": "f32", "float64": "f64"}[xs[0].dtype.name]
    got = run(name, level, *xs)
    errors = ulps(got, exact)
    i = int(np.argmax(errors))
    at = ", ".join(float(x[i]).hex() for x in xs)
    assert errors[i] <= WITHIN[dtype], f"{name} {dtype} {level}: {errors[i]:.3f} ulp at {at}: {got[i]} for {exact[i]}"


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


REFERENCES: dict[str, Callable[..., Any]] = {
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "softplus": lambda x: np.logaddexp(x.dtype.type(0), x),
    "sinh": np.sinh,
    "cosh": np.cosh,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "atan2": np.arctan2,
    "erf": scipy.special.erf,
    "erfc": scipy.special.erfc,
    "erfinv": lambda x: np.copysign(scipy.special.erfinv(x), x),
    "lgamma": lambda x: np.where(x == -np.inf, np.inf, scipy.special.gammaln(x)),
    "digamma": scipy.special.psi,
    "pow": np.power,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "cbrt": np.cbrt,
}
IN_F64 = ("erf", "erfc", "erfinv", "lgamma", "digamma")
"""What SciPy knows to f64 only."""
EXACT: dict[str, Callable[..., Any]] = {
    "exp2": lambda x: mp.power(2, x),
    "log2": lambda x: mp.log(x, 2),
    "sigmoid": lambda x: 1 / (1 + mp.exp(-x)),
    "softplus": lambda x: mp.log1p(mp.exp(x)) if x < 200 else x,
    "rsqrt": lambda x: 1 / mp.sqrt(x),
    "cbrt": lambda x: mp.sign(x) * mp.cbrt(abs(x)),
    "lgamma": lambda x: mp.loggamma(x) if x > 0 else mp.log(abs(mp.gamma(x))),
    "tanh": lambda x: mp.expm1(2 * x) / (mp.expm1(2 * x) + 2) if abs(x) < 50 else mp.sign(x),
}
"""Where mpmath has no function of the name, or one that overflows or cancels."""

UNARY = [name for name, e in EXPANSIONS.items() if e.operands == 1]
HARD = {
    "exp": (-745.2, 709.79),
    "exp2": (-1075, 1024),
    "expm1": (-40, 709.79),
    "log": (0.5, 2),
    "log2": (0.5, 2),
    "log10": (0.5, 2),
    "log1p": (-0.6, 1.2),
    "tanh": (0.3, 1.5),
    "sigmoid": (-5, 5),
    "softplus": (-3, 3),
    "sinh": (-3, 3),
    "cosh": (-3, 3),
    "sin": (-10, 10),
    "cos": (-10, 10),
    "tan": (-10, 10),
    "asin": (-1, 1),
    "acos": (-1, 1),
    "atan": (-3, 3),
    "asinh": (-5, 5),
    "acosh": (1, 5),
    "atanh": (-1, 1),
    "erf": (-6.1, 6.1),
    "erfc": (-6.1, 27),
    "erfinv": (-1, 1),
    "lgamma": (0, 12),
    "digamma": (0, 12),
    "rsqrt": (1, 4),
    "cbrt": (-8, 8),
}
"""Where each unary function has its reductions, switches and cancellations."""
DOMAIN = {
    "exp": (-np.inf, 710),
    "exp2": (-np.inf, 1024),
    "expm1": (-np.inf, 710),
    "log": (0, np.inf),
    "log2": (0, np.inf),
    "log10": (0, np.inf),
    "log1p": (-1, np.inf),
    "sigmoid": (-745, np.inf),
    "softplus": (-745, np.inf),
    "sinh": (-711, 711),
    "cosh": (-711, 711),
    "asin": (-1, 1),
    "acos": (-1, 1),
    "rsqrt": (0, np.inf),
    "acosh": (1, np.inf),
    "atanh": (-1, 1),
    "erfc": (-30, 30),
    "erfinv": (-1, 1),
    "lgamma": (0, 1e300),
    "digamma": (0, np.inf),
}
"""The arguments that are compared with mpmath, where not all are."""
SPECIAL = (0.0, 1.0, 2.0, 3.0, 0.5, 2.5, 1e30, float("inf"), float("nan"))


def signed(values: Any, dtype: str) -> np.ndarray:
    x = np.array(values, dtype)
    tiny = np.finfo(dtype)
    x = np.concatenate([x, [tiny.smallest_subnormal, 3 * tiny.smallest_subnormal, tiny.tiny, tiny.max, 1 + tiny.eps]]).astype(dtype)
    return np.concatenate([x, -x])


@pytest.mark.parametrize("level", LEVELS_HERE)
@pytest.mark.parametrize("name", UNARY)
def test_f32_over_all_exponents(name: str, level: str) -> None:
    # Bit patterns at a prime distance: every exponent and sign, about 4 thousand numbers in each binade (on the widest level).
    bits = np.arange(0, 1 << 32, 2039 if level == LEVELS_HERE[-1] else 20011, dtype=np.uint64).astype(np.uint32)
    x = np.concatenate([bits.view(np.float32), signed(SPECIAL, "float32")])
    with np.errstate(all="ignore"):
        check(name, level, REFERENCES[name](x.astype(np.float64)), x)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", UNARY)
def test_every_f32(name: str) -> None:
    for first in range(0, 1 << 32, 1 << 24):
        x = np.arange(first, first + (1 << 24), dtype=np.uint64).astype(np.uint32).view(np.float32)
        with np.errstate(all="ignore"):
            check(name, LEVELS_HERE[-1], REFERENCES[name](x.astype(np.float64)), x)


@pytest.mark.parametrize("level", LEVELS_HERE)
@pytest.mark.parametrize("name", [name for name in UNARY if name not in IN_F64])
def test_f64_against_80_bits(name: str, level: str) -> None:
    rng = np.random.default_rng(1)
    n = 1 << 15
    x = np.concatenate([rng.uniform(*HARD[name], n), rng.normal(size=n), rng.integers(0, 1 << 64, n, dtype=np.uint64).view(np.float64)])
    x = np.concatenate([x, signed(SPECIAL, "float64")])
    with np.errstate(all="ignore"):
        check(name, level, REFERENCES[name](x.astype(np.longdouble)), x)


@pytest.mark.parametrize("name", UNARY)
def test_f64_against_mpmath(name: str) -> None:
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.uniform(*HARD[name], 1000), rng.normal(size=500), 2.0 ** rng.uniform(-1074, 1024, 500)])
    periodic = name in ("sin", "cos", "tan")
    if periodic:
        k = rng.integers(1, 1 << 19, 300)
        # The nearest doubles to multiples of π/2, and the one that comes nearest of all (Muller, Elementary Functions, 11.3).
        x = np.concatenate([x, k * (np.pi / 2), [6381956970095103 * 2.0**797]])
    low, high = DOMAIN.get(name, (-np.inf, np.inf))
    x = x[(x > low) & (x < high)]
    f = EXACT.get(name) or getattr(mp, name)
    got = run(name, LEVELS_HERE[-1], x)
    worst = (0.0, 0.0)
    with mp.workprec(1200 if periodic else 160):
        for argument, value in zip(x.tolist(), got.tolist(), strict=True):
            exact = f(mp.mpf(argument))
            exponent = max(mp.frexp(exact)[1] - 1, -1022) if exact else -1022
            reached = mp.mpf(value) if math.isfinite(value) else mp.sign(value) * mp.mpf(2) ** 1024
            worst = max(worst, (float(abs(reached - exact) / mp.mpf(2) ** (exponent - 52)), argument))
    assert worst[0] <= WITHIN["f64"], f"{name}: {worst[0]:.3f} ulp at {worst[1].hex()}"


@pytest.mark.parametrize("level", LEVELS_HERE)
@pytest.mark.parametrize(("dtype", "wide"), [("float32", "float64"), ("float64", "longdouble")])
def test_pow(dtype: str, wide: str, level: str) -> None:
    rng = np.random.default_rng(3)
    n, limits = 1 << 16, np.finfo(dtype)
    x = np.exp2(rng.uniform(limits.minexp - limits.nmant, limits.maxexp, n).astype(wide)).astype(dtype)
    y = (rng.uniform(limits.minexp - limits.nmant, limits.maxexp, n) / np.log2(x.astype(wide))).astype(dtype)
    near = rng.uniform(0.9, 1.1, n).astype(dtype)
    steep = (rng.uniform(limits.minexp, limits.maxexp, n) / np.log2(near.astype(wide))).astype(dtype)
    specials = np.array(np.meshgrid(signed(SPECIAL, dtype), signed(SPECIAL, dtype))).reshape(2, -1)
    x = np.concatenate([x, near, rng.uniform(0, 9, n), specials[0]]).astype(dtype)
    y = np.concatenate([y, steep, rng.uniform(-9, 9, n), specials[1]]).astype(dtype)
    with np.errstate(all="ignore"):
        check("pow", level, np.power(x.astype(wide), y.astype(wide)), x, y)


@pytest.mark.parametrize("x", signed(SPECIAL, "float64").tolist())
@pytest.mark.parametrize("y", signed(SPECIAL, "float64").tolist())
def test_pow_at_special_values_is_that_of_c(x: float, y: float) -> None:
    got = float(run("pow", LEVELS_HERE[-1], np.array([x]), np.array([y]))[0])
    try:
        expected = math.pow(x, y)
    except OverflowError:
        expected = -math.inf if x < 0 and y % 2 == 1 else math.inf
    except ValueError:  # Python raises where C gives NaN, or inf for a zero to a negative power
        expected = math.nan if x != 0 else math.copysign(math.inf, x) if y % 2 == 1 else math.inf
    assert math.isclose(expected, got, rel_tol=1e-15) or (math.isnan(expected) and math.isnan(got))
    assert math.isnan(got) or math.copysign(1, expected) == math.copysign(1, got)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("name", EXPANSIONS)
def test_is_arithmetic_only(name: str, dtype: str) -> None:
    e = EXPANSIONS[name]
    for level in LEVELS:  # code for levels above this machine's is not run
        assembly = compiled(e.expand, e.operands, dtype, level).assembly
        calls = [line for line in assembly.splitlines() if line.split()[:1] in (["callq"], ["call"], ["jmpq"])]
        assert calls == []


def test_every_expansion_is_measured() -> None:
    assert set(EXPANSIONS) == set(REFERENCES)
