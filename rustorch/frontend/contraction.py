"""Products of vectors, matrices and tensors, and what is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rustorch.errors import ArgumentError, DTypeError, ShapeError, compose
from rustorch.frontend.arrangement import roll_op
from rustorch.frontend.base import TensorBase
from rustorch.frontend.diagonals import diagonal_op
from rustorch.frontend.emission import (
    Builder,
    Operand,
    Shape,
    Value,
    axis_of,
    broadcast_shapes,
    broadcast_to,
    dtype_of,
    matmul,
    operation,
    promote,
    reduce,
    reshape,
    scaled,
    shape_of,
    together,
)
from rustorch.frontend.movement import listed
from rustorch.frontend.statistics import length
from rustorch.frontend.storage import into
from rustorch.ir.dims import Size, product
from rustorch.ir.dtypes import title

# --- Vectors and matrices ---------------------------------------------------------------------------------------------


def _check_rank(name: str, *wanted: tuple[str, Value, int]) -> None:
    for which, x, rank in wanted:
        if len(shape_of(x)) != rank:
            words = {1: "vector", 2: "matrix", 3: "batch of matrices"}
            raise ShapeError(
                compose(f"{name}: {which} must be a {words[rank]}", f"found {len(shape_of(x))} dimensions, {list(shape_of(x))}")
            )


@operation(name="matmul")
def matmul_op(b: Builder, input: Value, other: Value) -> Value:
    """The matrix product: 1-d operands are vectors, leading dimensions broadcast."""
    return matmul(b, input, other)


@operation
def mm(b: Builder, input: Value, mat2: Value) -> Value:
    """The product of two matrices."""
    _check_rank("mm", ("self", input, 2), ("mat2", mat2, 2))
    return matmul(b, input, mat2)


@operation
def mv(b: Builder, input: Value, vec: Value) -> Value:
    """The product of a matrix and a vector."""
    _check_rank("mv", ("input", input, 2), ("vec", vec, 1))
    return matmul(b, input, vec)


@operation
def bmm(b: Builder, input: Value, mat2: Value) -> Value:
    """The products of the matrices of two batches."""
    _check_rank("bmm", ("batch1", input, 3), ("batch2", mat2, 3))
    if shape_of(input)[0] != shape_of(mat2)[0]:
        raise ShapeError(
            f"Expected size for first two dimensions of batch2 tensor to be: [{shape_of(input)[0]}, {shape_of(input)[2]}] but got: "
            f"[{shape_of(mat2)[0]}, {shape_of(mat2)[1]}]."
        )
    return matmul(b, input, mat2)


@operation
def dot(b: Builder, input: Value, tensor: Value) -> Value:
    """The inner product of two vectors."""
    if len(shape_of(input)) != 1 or len(shape_of(tensor)) != 1:
        raise ShapeError(f"1D tensors expected, but got {len(shape_of(input))}D and {len(shape_of(tensor))}D tensors")
    if shape_of(input) != shape_of(tensor):
        raise ShapeError(
            f"inconsistent tensor size, expected tensor {list(shape_of(input))} and src {list(shape_of(tensor))} to have the same number "
            "of elements"
        )
    return matmul(b, input, tensor)


@operation
def inner(b: Builder, input: Value, other: Value) -> Value:
    """The sums of products over the last dimensions of both."""
    x, y = promote(b, input, other)
    if not shape_of(x) or not shape_of(y):
        return b.mul(*together(b, x, y))  # type: ignore[no-any-return]
    left, right = shape_of(x), shape_of(y)
    if left[-1] != right[-1]:
        raise ShapeError(
            f"inner() the last dimension must match on both input tensors but got shapes {list(left)} and {list(right)}"
        )
    found: Value = b.dot_general(x, y, contract=((len(left) - 1,), (len(right) - 1,)), batch=((), ()))
    return found


@operation
def outer(b: Builder, input: Value, vec2: Value) -> Value:
    """The products of all pairs of elements of two vectors."""
    for which, v in (("self", input), ("vec2", vec2)):
        if len(shape_of(v)) != 1:
            raise ShapeError(f"outer: Expected 1-D argument {which}, but got {len(shape_of(v))}-D")
    x, y = promote(b, input, vec2)
    shape = (*shape_of(x), *shape_of(y))
    found: Value = b.mul(b.broadcast_to(x, shape=shape, dims=(0,)), b.broadcast_to(y, shape=shape, dims=(1,)))
    return found


# --- Products added to something --------------------------------------------------------------------------------------


def _added(b: Builder, input: Value, product_: Value, beta: Operand, alpha: Operand) -> Value:
    """beta * input + alpha * product; with beta 0 the input is not looked at."""
    if dtype_of(input) is not dtype_of(product_):
        raise DTypeError(
            compose(
                f"self and mat2 must have the same dtype, but got {title(dtype_of(input))} and "
                f"{title(dtype_of(product_))}",
                todo="Convert one of them first.",
            )
        )
    term = scaled(b, product_, alpha)
    if beta == 0:
        return term
    found: Value = b.add(broadcast_to(b, scaled(b, input, beta), shape_of(product_)), term)
    return found


@operation
def addmm(b: Builder, input: Value, mat1: Value, mat2: Value, *, beta: Operand = 1, alpha: Operand = 1) -> Value:
    """`beta * input + alpha * mat1 @ mat2`."""
    return _added(b, input, mm.emit(b, mat1, mat2), beta, alpha)


@operation
def addmv(b: Builder, input: Value, mat: Value, vec: Value, *, beta: Operand = 1, alpha: Operand = 1) -> Value:
    """`beta * input + alpha * mat @ vec`."""
    return _added(b, input, mv.emit(b, mat, vec), beta, alpha)


@operation
def addr(b: Builder, input: Value, vec1: Value, vec2: Value, *, beta: Operand = 1, alpha: Operand = 1) -> Value:
    """`beta * input + alpha * outer(vec1, vec2)`."""
    return _added(b, input, outer.emit(b, vec1, vec2), beta, alpha)


@operation
def addbmm(b: Builder, input: Value, batch1: Value, batch2: Value, *, beta: Operand = 1, alpha: Operand = 1) -> Value:
    """`beta * input + alpha * (the sum of the batch's products)`."""
    _check_rank("addbmm", ("batch1", batch1, 3), ("batch2", batch2, 3))
    total = b.dot_general(batch1, batch2, contract=((0, 2), (0, 1)), batch=((), ()))
    return _added(b, input, total, beta, alpha)


@operation
def baddbmm(b: Builder, input: Value, batch1: Value, batch2: Value, *, beta: Operand = 1, alpha: Operand = 1) -> Value:
    """`beta * input + alpha * batch1 @ batch2`."""
    return _added(b, input, bmm.emit(b, batch1, batch2), beta, alpha)


# --- Any dimensions ---------------------------------------------------------------------------------------------------


@operation(name="tensordot")
def tensordot_op(b: Builder, a: Value, other: Value, left: tuple[int, ...], right: tuple[int, ...]) -> Value:
    """The sum of products over pairs of dimensions; size 1 stretches."""
    first, second = (tuple(axis_of(d, len(shape_of(x))) for d in dims) for x, dims in ((a, left), (other, right)))
    for i, j in zip(first, second, strict=True):
        sizes = shape_of(a)[i], shape_of(other)[j]
        if sizes[0] != sizes[1]:
            if sizes[1] == 1:
                a = reduce(b, "sum", a, i, keepdim=True)
            elif sizes[0] == 1:
                other = reduce(b, "sum", other, j, keepdim=True)
            else:
                raise ShapeError(
                    f"contracted dimensions need to match, but first has size {sizes[0]} in dim {i} and second has size {sizes[1]} in "
                    f"dim {j}"
                )
    found: Value = b.dot_general(a, other, contract=(first, second), batch=((), ()))
    return found


def tensordot(a: Any, b: Any, dims: Any = 2, out: Any = None) -> Any:
    """The sum of products over the last `dims` dimensions of the first and the first of the second, or over listed pairs."""
    if isinstance(dims, TensorBase):
        dims = dims.tolist()  # type: ignore[attr-defined]
    if isinstance(dims, int):
        rank = len(a._type.shape)
        if dims < 0:
            raise ShapeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(rank, len(b._type.shape)):
            raise ShapeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
        left, right = tuple(range(rank - dims, rank)), tuple(range(dims))
    else:
        left, right = (tuple(d) if isinstance(d, (list, tuple)) else (d,) for d in dims)
    if len(left) != len(right):
        raise ShapeError("both dimension lists should have same length")
    return tensordot_op(a, b, left, right, out=out)


Labels = tuple[str, ...]


def _expand_dots(term: str, rank: int, dots: int) -> Labels:
    """The labels of a term, `...` as `dots` labels of their own, of which the term has the last ones."""
    if "..." not in term:
        return tuple(term)
    head, tail = term.split("...")
    named = len(head) + len(tail)
    return (*head, *(f"...{k}" for k in range(dots - (rank - named), dots)), *tail)


def _parsed(equation: str, ranks: Sequence[int]) -> tuple[list[Labels], Labels]:
    """The labels of every operand and of the result."""
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise ShapeError(
            f"einsum(): {'more' if len(ranks) > len(terms) else 'fewer'} operands were provided than specified in the equation: "
            f"{len(ranks)} for {len(terms)}"
        )
    for term in [*terms, right]:
        if not all(c.isalpha() for c in term.replace("...", "", 1)):
            raise ShapeError(f"einsum(): invalid subscript given in {term!r}: subscripts must be in [a-zA-Z]")
    dots = 0
    for term, rank in zip(terms, ranks, strict=True):
        named = len(term.replace("...", ""))
        if named > rank or (named != rank and "..." not in term):
            raise ShapeError(
                f"einsum(): the number of subscripts in the equation ({named}) does not match the number of dimensions ({rank}) for an "
                "operand" + (" and no ellipsis was given" if "..." not in term else "")
            )
        if "..." in term:
            dots = max(dots, rank - named)
    labels = [_expand_dots(term, rank, dots) for term, rank in zip(terms, ranks, strict=True)]
    if arrow:
        result = _expand_dots(right, len(right.replace("...", "")) + dots, dots)
        if len(set(result)) != len(result):
            raise ShapeError(f"einsum(): output subscript appears more than once in the output: {right}")
        for label in result:
            if not any(label in listed for listed in labels):
                raise ShapeError(f"einsum(): output subscript {label} does not appear in the equation for any input operand")
    else:
        counted = [label for listed in labels for label in listed]
        alone = sorted(label for label in set(counted) if counted.count(label) == 1 and not label.startswith("."))
        result = (*(f"...{k}" for k in range(dots)), *alone)
    return labels, result


def _without_repeats(b: Builder, x: Value, labels: Labels) -> tuple[Value, Labels]:
    """The operand with the diagonal in the place of dimensions that share a label."""
    for label in labels:
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            if shape_of(x)[first] != shape_of(x)[second]:
                raise ShapeError(
                    f"einsum(): subscript {label} is repeated for an operand but the sizes don't match, {shape_of(x)[second]} != "
                    f"{shape_of(x)[first]}"
                )
            x = diagonal_op.emit(b, x, 0, first, second)
            labels = (*(each for k, each in enumerate(labels) if k not in (first, second)), label)
    return x, labels


def _summed(b: Builder, x: Value, labels: Labels, kept: set[str]) -> tuple[Value, Labels]:
    """The operand summed over labels that nobody needs any more."""
    axes = tuple(k for k, label in enumerate(labels) if label not in kept)
    if not axes:
        return x, labels
    return reduce(b, "sum", x, axes), tuple(label for label in labels if label in kept)


def _sized(b: Builder, x: Value, labels: Labels, sizes: dict[str, Size]) -> tuple[Value, Labels]:
    """The operand without dimensions of size 1 that stretch."""
    axes = [k for k, label in enumerate(labels) if shape_of(x)[k] == 1 and sizes[label] != 1]
    shape = tuple(s for k, s in enumerate(shape_of(x)) if k not in axes)
    return reshape(b, x, shape), tuple(label for k, label in enumerate(labels) if k not in axes)


@operation(name="einsum")
def einsum_op(b: Builder, operands: Sequence[Value], equation: str) -> Value:
    """The sums of products that an equation names, pair by pair from the left."""
    terms, result = _parsed(equation, [len(shape_of(x)) for x in operands])
    operands = promote(b, *operands)
    found = [_without_repeats(b, x, labels) for x, labels in zip(operands, terms, strict=True)]
    sizes: dict[str, Size] = {}
    for x, labels in found:
        for label, size in zip(labels, shape_of(x), strict=True):
            known = sizes.setdefault(label, size)
            if known == 1:
                sizes[label] = size
            elif size not in (1, known):
                raise ShapeError(
                    f"einsum(): operands do not broadcast with remapped shapes [original->remapped]: label {label} has sizes {known} and "
                    f"{size}"
                )
    found = [_sized(b, x, labels, sizes) for x, labels in found]
    x, labels = found[0]
    for k, (y, others) in enumerate(found[1:], 1):
        later = {*result, *(label for _, more in found[k + 1 :] for label in more)}
        x, labels = _summed(b, x, labels, later | set(others))
        y, others = _summed(b, y, others, later | set(labels))
        shared = [label for label in labels if label in others]
        batch, contracted = [label for label in shared if label in later], [label for label in shared if label not in later]
        x = b.dot_general(
            x,
            y,
            contract=(tuple(map(labels.index, contracted)), tuple(map(others.index, contracted))),
            batch=(tuple(map(labels.index, batch)), tuple(map(others.index, batch))),
        )
        labels = (*batch, *(v for v in labels if v not in shared), *(v for v in others if v not in shared))
    x, labels = _summed(b, x, labels, set(result))
    missing = tuple(label for label in result if label not in labels)
    x = reshape(b, x, (*shape_of(x), *(1,) * len(missing)))
    labels = (*labels, *missing)
    perm = tuple(labels.index(label) for label in result)
    x = x if perm == tuple(range(len(perm))) else b.transpose(x, perm=perm)
    return broadcast_to(b, x, tuple(sizes[label] for label in result))


def einsum(equation: Any, *operands: Any) -> Any:
    """Sums of products of the operands' elements, as the equation's labels say: `einsum("ij,jk->ik", x, y)` is `x @ y`.

    Labels that the result lacks are summed over; a label twice in an operand takes its diagonal; `...` stands for the rest. The
    other form gives each operand's labels as a list of numbers behind it, and those of the result last.
    """
    if not isinstance(equation, str):
        return einsum(*_from_sublists((equation, *operands)))
    given = listed(operands)
    if not given:
        raise ArgumentError("einsum(): must provide at least one operand")
    return einsum_op(tuple(given), equation)


def _from_sublists(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    def text(numbers: Sequence[Any]) -> str:
        return "".join("..." if n is Ellipsis else chr(65 + n if n < 26 else 71 + n) for n in numbers)

    pairs, tail = (arguments, ()) if len(arguments) % 2 == 0 else (arguments[:-1], arguments[-1:])
    equation = ",".join(text(numbers) for numbers in pairs[1::2])
    return (equation + (f"->{text(tail[0])}" if tail else ""), *pairs[::2])


@operation
def kron(b: Builder, input: Value, other: Value) -> Value:
    """The blocks `input[i, …] * other`."""
    x, y = promote(b, input, other)
    rank = max(len(shape_of(x)), len(shape_of(y)))
    left, right = ((*(1,) * (rank - len(shape_of(v))), *shape_of(v)) for v in (x, y))
    apart: list[Shape] = [tuple(s for pair in zip(left, (1,) * rank, strict=True) for s in pair)]
    apart.append(tuple(s for pair in zip((1,) * rank, right, strict=True) for s in pair))
    x, y = together(b, reshape(b, x, apart[0]), reshape(b, y, apart[1]))
    return reshape(b, b.mul(x, y), tuple(s * t for s, t in zip(left, right, strict=True)))


# --- Geometry ---------------------------------------------------------------------------------------------------------


@operation
def cross(b: Builder, input: Value, other: Value, dim: int | None = None) -> Value:
    """The vector product along a dimension of size 3 (the first one, if none is named)."""
    x, y = together(b, input, other)
    shape = shape_of(x)
    if dim is None:
        if 3 not in shape:
            raise ShapeError("no dimension of size 3 in input")
        dim = shape.index(3)
    axis = axis_of(dim, len(shape))
    if shape[axis] != 3:
        sizes = f"{shape_of(input)[axis]} and {shape_of(other)[axis]}"
        raise ShapeError(f"linalg.cross: inputs dimension {dim} must have length 3. Got {sizes}")

    def turned(v: Value, by: int) -> Value:
        return roll_op.emit(b, v, (-by,), (axis,))  # type: ignore[no-any-return]

    found: Value = b.sub(b.mul(turned(x, 1), turned(y, 2)), b.mul(turned(x, 2), turned(y, 1)))
    return found


@operation(name="cdist")
def cdist_op(b: Builder, x1: Value, x2: Value, p: float) -> Value:
    """The p-norms of all differences of rows. At 0 the derivative is 0."""
    for which, x in (("X1", x1), ("X2", x2)):
        if len(shape_of(x)) < 2:
            raise ShapeError(f"cdist only supports at least 2D tensors, {which} got: {len(shape_of(x))}D")
    left, right = shape_of(x1), shape_of(x2)
    if left[-1] != right[-1]:
        raise ShapeError(f"X1 and X2 must have the same number of columns. X1: {left[-1]} X2: {right[-1]}")
    lead = broadcast_shapes(left[:-2], right[:-2]) if len(left) + len(right) > 4 else ()
    shape = (*lead, left[-2], right[-2], left[-1])
    x, y = promote(b, x1, x2)
    x = broadcast_to(b, reshape(b, x, (*left[:-1], 1, left[-1])), shape)
    y = broadcast_to(b, reshape(b, y, (*right[:-2], 1, *right[-2:])), shape)
    if product((left[-1],)) == 0:
        return reduce(b, "sum", b.sub(x, y), -1)
    return length(b, b.sub(x, y), p, -1)


def cdist(x1: Any, x2: Any, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary") -> Any:
    """The distances, in the p-norm, of each row of `x1` to each row of `x2`. They are computed from the differences."""
    if p < 0:
        raise ArgumentError("cdist only supports non-negative p values")
    return cdist_op(x1, x2, float(p))


@operation
def bilinear(b: Builder, input1: Value, input2: Value, weight: Value, bias: Value | None = None) -> Value:
    """x1 W x2 for each matrix W of a weight [out, in1, in2], plus a bias [out]."""
    lead, (_, in1, in2) = shape_of(input1)[:-1], shape_of(weight)
    if shape_of(input2)[:-1] != lead:
        raise ShapeError(f"bilinear(): input batch dimensions do not match: got {list(lead)} and {list(shape_of(input2)[:-1])}")
    if shape_of(input1)[-1] != in1 or shape_of(input2)[-1] != in2:
        raise ShapeError(
            f"bilinear(): input sizes do not match weight sizes: got {shape_of(input1)[-1]} and {shape_of(input2)[-1]} but expected {in1} "
            f"and {in2}"
        )
    rank = len(lead)
    rows = b.dot_general(input1, weight, contract=((rank,), (1,)), batch=((), ()))
    batch = tuple(range(rank))
    found: Value = b.dot_general(rows, input2, contract=((rank + 1,), (rank,)), batch=(batch, batch))
    return found if bias is None else b.add(found, broadcast_to(b, bias, shape_of(found)))


def chain_matmul(*matrices: Any, out: Any = None) -> Any:
    """The product of several matrices, from the left."""
    given = listed(matrices)
    if not given:
        raise ArgumentError("chain_matmul(): Expected one or more matrices")
    found = given[0]
    for x in given[1:]:
        found = mm(found, x)
    return into(out, found)


vdot, ger = dot, outer

FUNCTIONS = (mm, mv, bmm, dot, inner, outer, addmm, addmv, addr, addbmm, baddbmm, kron, cross)
"""Functions that are methods, too."""
IN_PLACE = (addmm, addmv, addr, addbmm, baddbmm)
"""Those that have a method with a trailing underscore."""
METHODS = {**{f.__name__: f for f in FUNCTIONS}, "matmul": matmul_op, "__matmul__": matmul_op, "vdot": dot, "ger": outer}
"""Methods of tensors."""
