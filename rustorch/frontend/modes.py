"""The gradient mode: whether operations are recorded for differentiation, thread by thread."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Self, TypeVar, overload

from rustorch.frontend.state import local

F = TypeVar("F", bound=Callable[..., Any])


def is_grad_enabled() -> bool:
    """Whether operations are recorded for differentiation."""
    return bool(local.segment.mode)


def set_mode(mode: bool) -> None:
    """Switch the calling thread's gradient mode. Inside `inference_mode` it stays off."""
    mode = mode and not local.inference
    local.grad = mode
    local.segment.set_grad(mode)


class _Mode:
    """A mode as a context and as a decorator (of generator functions, too: the mode holds inside each step only)."""

    mode = True

    def __init__(self) -> None:
        self._before: list[bool] = []

    def __enter__(self) -> Self:
        self._before.append(is_grad_enabled())
        set_mode(self.mode)
        return self

    def __exit__(self, *exception: object) -> None:
        set_mode(self._before.pop())

    def __call__(self, function: F) -> F:
        if inspect.isgeneratorfunction(function):
            return self._generator(function)

        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with type(self)._copy(self):
                return function(*args, **kwargs)

        return inside  # type: ignore[return-value]

    def _copy(self) -> _Mode:
        return type(self)()

    def _generator(self, function: F) -> F:
        @functools.wraps(function)
        def steps(*args: Any, **kwargs: Any) -> Any:
            with self._copy():
                generator = function(*args, **kwargs)
                request: Any = None
            failed: BaseException | None = None
            while True:
                try:
                    with self._copy():
                        answer = generator.throw(failed) if failed is not None else generator.send(request)
                except StopIteration as stop:
                    return stop.value
                failed = None
                try:
                    request = yield answer
                except GeneratorExit:
                    with self._copy():
                        generator.close()
                    raise
                except BaseException as error:
                    failed = error

        return steps  # type: ignore[return-value]


class _FixedMode(_Mode):
    """A mode whose class says it; `@no_grad` without parentheses decorates, too."""

    @overload
    def __new__(cls, function: None = None) -> Self: ...

    @overload
    def __new__(cls, function: F) -> F: ...  # type: ignore[misc]

    def __new__(cls, function: Any = None) -> Any:
        made = super().__new__(cls)
        if function is None:
            return made
        made.__init__()  # type: ignore[misc]
        return made(function)


class no_grad(_FixedMode):
    """Operations inside are not recorded for differentiation: `with no_grad():` or `@no_grad()`."""

    mode = False


class enable_grad(_FixedMode):
    """Operations inside are recorded for differentiation: `with enable_grad():` or `@enable_grad()`."""

    mode = True


class strict_data:
    """Refuse, inside, to write through `.data` to tensors with a gradient: `with rustorch.debug.strict_data():`.

    Such a write is seen by no gradient and not counted in `_version`. What is refused: a write to `x.data`, or to a view of it, and
    `x.data = …`, where `x` requires gradients and gradients are recorded; as a write to the leaf `x` itself would be. The calling
    thread only.
    """

    def __init__(self, mode: bool = True) -> None:
        self._mode = mode
        self._before: list[bool] = []

    def __enter__(self) -> Self:
        self._before.append(local.strict_data)
        local.strict_data = self._mode
        return self

    def __exit__(self, *exception: object) -> None:
        local.strict_data = self._before.pop()


class inference_mode(_Mode):
    """Operations inside are not recorded for differentiation, and never will be: `with inference_mode():` or `@inference_mode()`.

    As `no_grad`, and what is made inside may not be saved for a backward pass or written to outside (`clone()` gives a tensor that may).
    `inference_mode(False)` is the ordinary mode, inside of another one, too.
    """

    def __new__(cls, mode: Any = True) -> Any:
        made = super().__new__(cls)
        if not callable(mode):
            return made
        made.__init__()  # type: ignore[misc]
        return made(mode)

    def __init__(self, mode: bool = True) -> None:
        super().__init__()
        self.on = bool(mode)
        self._outside: list[tuple[bool, bool]] = []

    def __enter__(self) -> Self:
        self._outside.append((local.inference, is_grad_enabled()))
        _switch_inference(self.on, not self.on)
        return self

    def __exit__(self, *exception: object) -> None:
        _switch_inference(*self._outside.pop())

    def _copy(self) -> _Mode:
        return type(self)(self.on)


def _switch_inference(on: bool, grad: bool) -> None:
    if on != local.inference:
        local.segment.set_inference(on)  # a recorded segment ends where the mode does
        local.inference = on
    set_mode(grad)


def is_inference_mode_enabled() -> bool:
    """Whether `inference_mode` is on."""
    return local.inference


class set_grad_enabled(_Mode):
    """Switch the mode at once; as a context, switch it back at the end."""

    def __init__(self, mode: bool) -> None:
        super().__init__()
        self.mode = bool(mode)
        self._outer = is_grad_enabled()
        set_mode(self.mode)

    def __enter__(self) -> Self:
        self._before.append(self._outer)
        set_mode(self.mode)
        return self

    def __call__(self, function: F) -> F:
        set_mode(self._outer)
        return super().__call__(function)

    def _copy(self) -> _Mode:
        return type(self)(self.mode)


class Transforming:
    """While a function is being transformed: a `Function` that keeps its context inside `forward` is refused."""

    def __enter__(self) -> None:
        local.transforms += 1

    def __exit__(self, *exception: object) -> None:
        local.transforms -= 1
