"""`Tensor`: what users hold. `Variable` is the same class.

Elementwise methods and operators come from the registry (`elementwise.py`), those on shapes, sums and places from the files of
these names; its gradient is in `differentiable.py`. Here is what belongs to the tensor itself: its properties and its elements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np

from rustorch.errors import ArgumentError, DimensionError, GradError, ShapeError, Unsupported, compose
from rustorch.frontend import creation, elementwise, functions, indexing, movement, printing, random, reduction, sampling
from rustorch.frontend.base import FRESH_SLOTS, Array, Link, TensorBase, set_tensor_class
from rustorch.frontend.creation import check_can_require
from rustorch.frontend.differentiable import Differentiable
from rustorch.frontend.dtype import CPU, Size, as_dtype, device
from rustorch.frontend.generated import Methods
from rustorch.frontend.sizes import shown_shape
from rustorch.frontend.state import local
from rustorch.frontend.storage import bases, become_leaf, convert_to, is_leaf, rebind, same, write
from rustorch.ir.dtypes import bool_, f32, f64, i32, i64
from rustorch.ir.dtypes import from_numpy as from_numpy_dtype
from rustorch.ir.types import DType, TensorType


class Tensor(Differentiable, Methods):
    """An array with a gradient.

    `Tensor(data, requires_grad=False)` copies numbers, nested lists, an array or a tensor; `rustorch.tensor` is the same.
    Operations on it are recorded, compiled as a whole and run when somebody looks at elements.
    """

    __slots__ = ()
    __array_priority__ = 1000

    def __new__(cls, data: Any = (), requires_grad: bool = False, dtype: Any = None) -> Self:
        if not local.segment.writes_memory:  # inside a traced function it is one of the function's values
            return cls._standing_for(creation.tensor(data, dtype=dtype), requires_grad)
        array = creation.array_of(data, None if dtype is None else as_dtype(dtype))
        made = object.__new__(cls)
        made._array, made._type = array, TensorType(from_numpy_dtype(array.dtype), array.shape)
        check_can_require(made._type.dtype, requires_grad)
        for slot, value in FRESH_SLOTS.items():
            setattr(made, slot, value)
        made._requires_grad = bool(requires_grad)
        return made

    @classmethod
    def _standing_for(cls, value: Any, requires_grad: bool) -> Self:
        """A leaf of this class for a recorded value that nobody else holds."""
        check_can_require(value._type.dtype, requires_grad)
        made = object.__new__(cls)
        made._array, made._type = None, value._type
        for slot, content in FRESH_SLOTS.items():
            setattr(made, slot, content)
        local.segment.move(made, value)
        if requires_grad:
            become_leaf(made)
        return made

    @classmethod
    def from_tensor(cls, tensor: Any, requires_grad: bool = False) -> Any:
        """A leaf with a copy of a tensor's elements."""
        return cls(tensor, requires_grad=requires_grad)

    # --- What it is ---------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        """The sizes of the dimensions."""
        type_ = self._type
        return Size(type_.shape) if self._array is not None or type_.is_static else shown_shape(type_.shape)  # type: ignore[arg-type]

    @property
    def dtype(self) -> DType:
        """The element type."""
        return self._type.dtype

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self._type.shape)

    @property
    def device(self) -> device:
        """Where it is: the cpu."""
        return CPU

    @property
    def layout(self) -> str:
        """How elements lie in memory."""
        return "rustorch.strided"

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return self._type.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.numel() * self.itemsize

    is_cuda = False
    is_sparse = False
    is_cpu = True
    is_quantized = False
    is_meta = False

    def dim(self) -> int:
        """The number of dimensions."""
        return len(self._type.shape)

    ndimension = dim

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one dimension."""
        if dim is None:
            return self.shape
        shape = self.shape
        if not -max(len(shape), 1) <= dim < max(len(shape), 1):
            raise DimensionError(
                f"Dimension out of range (expected to be in range of [{-max(len(shape), 1)}, {max(len(shape), 1) - 1}], but got {dim})"
            )
        return shape[dim]

    def numel(self) -> int:
        """The number of elements."""
        return self.shape.numel()

    nelement = numel

    def element_size(self) -> int:
        """Bytes of an element."""
        return self.itemsize

    def is_floating_point(self) -> bool:
        """Whether elements are floating-point numbers."""
        return self._type.dtype.kind == "float"

    def is_contiguous(self) -> bool:
        """Whether elements lie in row-major order: always, as far as programs can tell."""
        return True

    def contiguous(self) -> Self:
        """The tensor."""
        return self

    def stride(self, dim: int | None = None) -> Any:
        """Steps between neighbours along each dimension, in elements, of a row-major tensor."""
        steps = [1]
        for size in reversed(self.shape[1:]):
            steps.append(steps[-1] * max(size, 1))
        strides = tuple(reversed(steps)) if self.ndim else ()
        return strides if dim is None else strides[dim]

    def __len__(self) -> int:
        if not self._type.shape:
            raise ArgumentError("len() of a 0-d tensor")
        return int(self.shape[0])

    # --- Its elements: observation points -----------------------------------------------------------------------------

    def numpy(self, *, force: bool = False) -> Array:
        """The elements as an array, which shares the tensor's memory."""
        if self._requires_grad:
            if not force:
                raise GradError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
            plain: Array = self.detach().numpy()
            return plain
        self._look()
        array = self._elements()
        self._expose()
        return array

    def _look(self) -> None:
        """Refuse to look at elements while a function is traced: what is seen now would stay in the program for ever."""
        if not local.segment.writes_memory:
            local.segment.settle(self)

    def _expose(self) -> None:
        array = self._array
        if array is not None and not array.flags.writeable:
            self._array = array.copy()
        self._more().exposed = True
        for base in bases(self, *Link):
            if base._array is None:
                break
            base._more().exposed = True

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def item(self) -> Any:
        """The only element, as a Python number."""
        if self.numel() != 1:
            raise ShapeError(f"a Tensor with {self.numel()} elements cannot be converted to Scalar")
        self._look()
        return self._elements().item()

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers."""
        self._look()
        return self._elements().tolist()

    def __float__(self) -> float:
        return float(self._scalar())

    def __int__(self) -> int:
        return int(self._scalar())

    def _scalar(self) -> Any:
        if self.numel() != 1:
            raise ShapeError(compose("only one element tensors can be converted to Python scalars", f"found shape {list(self.shape)}"))
        return self.item()

    def __bool__(self) -> bool:
        if self.numel() == 0:
            raise ShapeError("Boolean value of Tensor with no values is ambiguous")
        if self.numel() > 1:
            raise ShapeError("Boolean value of Tensor with more than one value is ambiguous")
        return bool(self.item())

    def __index__(self) -> int:
        if self._type.dtype.kind == "float" or self.numel() != 1:
            raise ArgumentError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __iter__(self) -> Iterator[Any]:
        if not self._type.shape:
            raise ArgumentError("iteration over a 0-d tensor")
        return iter(movement.unbind(self))

    def __contains__(self, element: Any) -> bool:
        return bool(reduction.any(self == element))

    def __str__(self) -> str:
        self._look()
        return repr(self)

    def __format__(self, spec: str) -> str:
        self._look()
        if not self._type.shape and spec:
            return format(self.item(), spec)
        return format(repr(self), spec)

    def __repr__(self) -> str:
        suffixes = []
        if self._requires_grad:
            node = self.grad_fn
            suffixes.append("requires_grad=True" if node is None else f"grad_fn=<{node.name()}>")
        if self._array is None and local.segment is self._segment and not local.segment.writes_memory:
            return f"tensor(traced: {self._type}{''.join(', ' + s for s in suffixes)})"
        return printing.text(self._elements(), self._type.dtype, suffixes, prefix=f"{self._word()}(")

    def _word(self) -> str:
        return "tensor"

    def __hash__(self) -> int:
        return id(self) >> 4

    # --- Conversions --------------------------------------------------------------------------------------------------

    def to(self, *args: Any, dtype: Any = None, device: Any = None, non_blocking: bool = False, copy: bool = False) -> Any:
        """The tensor in another element type, or in that of another tensor."""
        for arg in (*args, *(x for x in (device,) if x is not None)):
            if isinstance(arg, TensorBase):
                dtype = arg._type.dtype
            elif isinstance(arg, DType) or arg in (float, int, bool):
                dtype = arg
            elif not isinstance(arg, bool):
                CPU.__class__(arg)
        if dtype is None or as_dtype(dtype) is self._type.dtype:
            return self.clone() if copy else self
        return convert_to(self, as_dtype(dtype))

    def type_as(self, other: Any) -> Any:
        """The tensor in the element type of another."""
        return self.to(other._type.dtype)

    def float(self) -> Any:
        """The tensor as float32."""
        return self.to(f32)

    def double(self) -> Any:
        """The tensor as float64."""
        return self.to(f64)

    def int(self) -> Any:
        """The tensor as int32."""
        return self.to(i32)

    def long(self) -> Any:
        """The tensor as int64."""
        return self.to(i64)

    def bool(self) -> Any:
        """The tensor as bool."""
        return self.to(bool_)

    def cpu(self) -> Self:
        """The tensor."""
        return self

    def clone(self) -> Any:
        """A copy, through which gradients flow."""
        return same(self)

    def copy_(self, src: Any, non_blocking: builtins_bool = False) -> Self:
        """Write a tensor over the elements; gives the tensor."""
        indexing.copy_(self, src)
        return self

    def fill_(self, value: Any) -> Self:
        """Write a number over the elements; gives the tensor."""
        indexing.copy_(self, value)
        return self

    def zero_(self) -> Self:
        """Write zeros; gives the tensor."""
        return self.fill_(0)

    # --- Shapes that need self ----------------------------------------------------------------------------------------

    @property
    def T(self) -> Any:
        """The dimensions in reverse order."""
        return movement.permute(self, tuple(range(self.ndim))[::-1])

    @property
    def mT(self) -> Any:
        """Matrices transposed."""
        return movement.transpose(self, -2, -1)

    mH = mT
    """As `mT`: real numbers are their own conjugates."""

    @property
    def H(self) -> Any:
        """A matrix transposed (and conjugated, were it complex)."""
        if self.ndim not in (0, 2):
            raise ShapeError(f"tensor.H is only supported on matrices (2-D tensors). Got {self.ndim}-D tensor.")
        return movement.transpose(self, 0, 1) if self.ndim else self

    def view(self, *shape: Any) -> Any:
        """The same elements in another shape."""
        return movement.reshape(self, *shape)

    def view_as(self, other: Any) -> Any:
        """The same elements in the shape of another tensor."""
        return movement.reshape(self, other._type.shape)

    reshape_as = view_as

    def expand(self, *sizes: Any) -> Any:
        """The tensor repeated to a larger shape."""
        return movement.expand(self, *sizes)

    def expand_as(self, other: Any) -> Any:
        """The tensor repeated to the shape of another."""
        return movement.expand_as(self, other)

    def new_empty(self, *size: Any, dtype: Any = None) -> Any:
        """As `new_zeros`."""
        return creation.zeros(*size, dtype=dtype or self._type.dtype)

    def fill_diagonal_(self, fill_value: Any, wrap: builtins_bool = False) -> Self:
        """Write a number on the main diagonal; gives the tensor."""
        if self.ndim != 2:
            raise ShapeError("fill_diagonal_: dimensions must be 2 here; for more, write to .diagonal()")
        self.diagonal().fill_(fill_value)
        if wrap and self.shape[0] > self.shape[1] + 1:
            self[self.shape[1] + 1 :].fill_diagonal_(fill_value, wrap=True)
        return self

    def new_tensor(self, data: Any, *, dtype: Any = None, requires_grad: builtins_bool = False) -> Any:
        """A new tensor of this one's element type."""
        return creation.tensor(data, dtype=dtype or self._type.dtype, requires_grad=requires_grad)

    def new_zeros(self, *size: Any, dtype: Any = None) -> Any:
        """Zeros of this one's element type."""
        return creation.zeros(*size, dtype=dtype or self._type.dtype)

    def new_ones(self, *size: Any, dtype: Any = None) -> Any:
        """Ones of this one's element type."""
        return creation.ones(*size, dtype=dtype or self._type.dtype)

    def new_full(self, size: Any, fill_value: Any, *, dtype: Any = None) -> Any:
        """A number repeated, in this one's element type."""
        return creation.full(size, fill_value, dtype=dtype or self._type.dtype)

    def __getitem__(self, index: Any) -> Any:
        return indexing.getitem(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        indexing.setitem(self, index, value)

    # --- Copies and files ---------------------------------------------------------------------------------------------

    def __deepcopy__(self, memo: dict[builtins_int, Any]) -> Any:
        if not is_leaf(self):
            raise GradError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment.  If you were "
                "attempting to deepcopy a module, this may be because of a torch.nn.utils.weight_norm usage"
            )
        if id(self) in memo:
            return memo[id(self)]
        if local.segment.writes_memory:
            twin = _rebuild(type(self), self._elements().copy(), self._requires_grad, _attributes(self, memo))
        else:
            twin = self._standing_for(same(self.detach()), self._requires_grad)
            twin.__dict__.update(_attributes(self, memo)) if hasattr(twin, "__dict__") else None
        memo[id(self)] = twin
        if self._grad is not None:
            twin._grad = self._grad.__deepcopy__(memo)
        return twin

    def __reduce__(self) -> Any:
        self._look()  # what is loaded is a leaf, as in PyTorch
        return _rebuild, (type(self), np.array(self._elements()), self._requires_grad, _attributes(self, None))

    # --- numpy's manners ----------------------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        function = elementwise.functions.get(_UFUNCS.get(ufunc.__name__, ufunc.__name__))
        if method == "__call__" and function is not None and not kwargs:
            return function(*(creation.from_numpy(x) if isinstance(x, np.ndarray) else x for x in inputs))
        arrays = [x.numpy() if isinstance(x, Tensor) else x for x in inputs]
        return getattr(ufunc, method)(*arrays, **kwargs)

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self.numpy().__dlpack__(**kwargs)

    def __dlpack_device__(self) -> tuple[builtins_int, builtins_int]:
        return (1, 0)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")


builtins_bool = bool
builtins_int = int

_UFUNCS = {
    "subtract": "sub", "multiply": "mul", "true_divide": "div", "divide": "div", "negative": "neg", "absolute": "abs", "power": "pow",
    "less": "lt", "less_equal": "le", "greater": "gt", "greater_equal": "ge", "equal": "eq", "not_equal": "ne", "add": "add",
}  # fmt: skip


def _attributes(x: TensorBase, memo: Any) -> dict[str, Any]:
    return dict(getattr(x, "__dict__", None) or {})


def _rebuild(cls: type[Tensor], array: Array, requires_grad: bool, attributes: dict[str, Any]) -> Any:
    made = object.__new__(cls)
    made._array, made._type = array, TensorType(from_numpy_dtype(array.dtype), array.shape)
    for slot, value in FRESH_SLOTS.items():
        setattr(made, slot, value)
    made._requires_grad = requires_grad
    if attributes:
        made.__dict__.update(attributes)
    return made


Variable = Tensor
"""The same class: every tensor can have a gradient."""
set_tensor_class(Tensor)


def attach(methods: dict[str, Callable[..., Any]]) -> None:
    """Add methods to `Tensor`, but for those that it, or its gradient's part, defines."""
    for name, function in methods.items():
        if not any(name in part.__dict__ for part in (Tensor, Differentiable)):
            setattr(Tensor, name, function)


attach(functions.METHODS)
attach(elementwise.methods)
attach(sampling.METHODS | {"uniform_": random.uniform_, "normal_": random.normal_, "bernoulli": random.bernoulli})

__all__ = ["Tensor", "Unsupported", "Variable", "attach", "rebind", "write"]
