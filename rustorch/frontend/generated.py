"""What the registry of ops makes of itself: the elementwise functions, and the base class of `Tensor` that types them.

At run time the functions are those of `elementwise.py`, and `tensor.py` puts the methods on `Tensor`. For readers and type
checkers they are written out in `generated.pyi`, which a test compares with the registry (`pytest --bless` writes it anew).
"""

from rustorch.frontend import elementwise


class Methods:
    """The elementwise methods and operators of tensors."""

    __slots__ = ()


_functions = {name: function for name, function in elementwise.functions.items() if name not in elementwise.EXTENDED}
globals().update(_functions)
__all__ = list(_functions)
