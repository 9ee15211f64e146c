"""The narrow door for compositions: how `functional` (and the front end itself) writes operations.

    from rustorch.frontend.emission import Builder, Operand, Value, convert, operation, promote, reduce, shape_of

    @operation
    def mse_loss(b: Builder, input: Value, target: Value, reduction: str = "mean") -> Value:
        \"\"\"Mean of the squared differences.\"\"\"
        x, y = together(b, input, target)
        d = b.sub(x, y)
        return average(b, b.mul(d, d)) if reduction == "mean" else ...

    loss = mse_loss(prediction, target)          # a Tensor; recorded as one step, one look-up when it is repeated

- `operation` is explained in `operation.py`: `Value` parameters are tensors, `Operand` ones may be numbers, the rest is static.
- Emission is ordinary code over a `Builder`: any op of the registry by its name (`b.exp(x)`, `b.dot_general(x, y, contract=…,
  batch=…)`), with operands of equal element type and shape: `together`, `promote`, `broadcast`, `convert` see to that. A Python
  number may stand beside a value: `b.mul(x, 2.0)`.
- An operation calls another by its emitting function: `softmax.emit(b, x, -1)`.
- Derivatives come from the ops. There is nothing to state.
- Errors: raise `ShapeError`, `DTypeError`, `ArgumentError`, `DimensionError` from `rustorch.errors`; the user's line is added.
- What Python decides (a mode, a default, an alias of an argument) belongs into a plain function around the operation, which is
  also the place for `inplace=`: `return rebind(input, relu(input))`.
- Randomness: `random_key(count)` in the plain function gives a key tensor for `count` numbers; the operation takes it as a
  `Value` and makes the numbers from it: `uniform(b, key, type)`, `bernoulli_mask(b, key, shape, p)`.
"""

from rustorch.frontend.advance import Advance
from rustorch.frontend.contraction import bilinear
from rustorch.frontend.emission import (
    Builder,
    DType,
    Operand,
    Scalar,
    Shape,
    Size,
    TensorType,
    Value,
    as_float,
    average,
    axes_of,
    axis_of,
    broadcast,
    broadcast_shapes,
    broadcast_to,
    convert,
    count,
    default_dtype,
    dtype_of,
    keep,
    matmul,
    operation,
    promote,
    reduce,
    reshape,
    result_type,
    shape_of,
    together,
)
from rustorch.frontend.indexing import index_op
from rustorch.frontend.movement import part, zero_of
from rustorch.frontend.random import bernoulli_mask, random_key, uniform
from rustorch.frontend.statistics import logsumexp_op, variance
from rustorch.frontend.storage import rebind
from rustorch.frontend.structure import changed, watch
from rustorch.frontend.tensor import Tensor, attach

index = index_op.emit
logsumexp = logsumexp_op.emit

__all__ = [
    "Builder", "DType", "Operand", "Scalar", "Shape", "Size", "Tensor", "TensorType", "Value",
    "Advance", "as_float", "attach", "average", "axes_of", "axis_of", "bernoulli_mask", "broadcast", "broadcast_shapes", "broadcast_to",
    "bilinear", "changed", "convert", "count",
    "default_dtype", "dtype_of", "index", "keep", "logsumexp", "matmul", "operation", "part", "promote", "random_key", "rebind", "reduce",
    "reshape", "result_type", "shape_of", "together", "uniform", "variance", "watch", "zero_of",
]  # fmt: skip
