"""Modules: parameters, buffers and other modules under names, and a `forward`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Self, TypeVar

import rustorch
from rustorch import Tensor, changed, no_grad, watch
from rustorch.autograd import RemovableHandle
from rustorch.errors import ArgumentError, ShapeError
from rustorch.nn.hooks import EVERYWHERE, Hook, Hooks, call_with_hooks
from rustorch.nn.parameter import Parameter

T = TypeVar("T")


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict` found missing, and what it did not know."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"IncompatibleKeys(missing_keys={self.missing_keys!r}, unexpected_keys={self.unexpected_keys!r})"


class Module:
    """A function with parameters.

    Parameters and modules become parts of a module by being set as attributes; `register_buffer` adds tensors that are kept in
    the state, but not trained. Subclasses write `forward`; calling the module calls it, between the hooks.
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Any]
    _modules: dict[str, Module | None]
    _transient: set[str]
    """Names of buffers that are left out of the state."""
    _hooks: Hooks | None
    _changes: int
    """Grows when a part or a hook comes, goes or is replaced: programs that were traced with the module depend on it."""

    def __init__(self) -> None:
        own = self.__dict__
        own["training"], own["_parameters"], own["_buffers"], own["_modules"] = True, {}, {}, {}
        own["_transient"], own["_hooks"], own["_changes"] = set(), None, 0

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes."""
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        watch(self, "training", "_changes")
        watch(EVERYWHERE, "changes")
        if not self._hooks and not EVERYWHERE:
            return self.forward(*args, **kwargs)
        return call_with_hooks(self, self._hooks, self.forward, args, kwargs)

    def _change(self) -> None:
        """Let traced programs know that the module is another."""
        self.__dict__["_changes"] += 1
        changed()

    # --- Parts --------------------------------------------------------------------------------------------------------

    def _kinds(self) -> tuple[dict[str, Any], ...]:
        try:
            return self.__dict__["_parameters"], self.__dict__["_buffers"], self.__dict__["_modules"]
        except KeyError:
            raise AttributeError(f"cannot assign a part before {type(self).__name__}.__init__() has called Module.__init__()") from None

    def _register(self, parts: dict[str, Any], kind: str, name: str, part: Any) -> None:
        """A new part under a name that is free."""
        if not isinstance(name, str):
            raise ArgumentError(f"{kind} name should be a string. Got {type(name).__name__}")
        if hasattr(self, name) and name not in parts:
            raise KeyError(f"attribute '{name}' already exists")
        if "." in name:
            raise KeyError(f"{kind} name can't contain \".\", got: {name}")
        if not name:
            raise KeyError(f'{kind} name can\'t be empty string ""')
        parts[name] = part
        self._change()

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter, or the place for one."""
        parameters, _, _ = self._kinds()
        if param is not None and not isinstance(param, Parameter):
            raise ArgumentError(
                f"cannot assign '{type(param).__name__}' object to parameter '{name}' (rustorch.nn.Parameter or None required)"
            )
        self._register(parameters, "parameter", name, param)

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """Add a tensor that belongs to the module without being trained; `persistent` ones are part of `state_dict`."""
        _, buffers, _ = self._kinds()
        if tensor is not None and not isinstance(tensor, Tensor):
            raise ArgumentError(f"cannot assign '{type(tensor).__name__}' object to buffer '{name}' (rustorch.Tensor or None required)")
        self._register(buffers, "buffer", name, tensor)
        (self._transient.discard if persistent else self._transient.add)(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a module."""
        _, _, modules = self._kinds()
        if module is not None and not isinstance(module, Module):
            raise ArgumentError(f"{type(module).__name__} is not a Module subclass")
        self._register(modules, "module", name, module)

    register_module = add_module

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        for kind in ("_parameters", "_buffers", "_modules"):
            parts = own.get(kind)
            if parts is not None and name in parts:
                return parts[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        parameters, buffers, modules = own = self.__dict__.get("_parameters"), self.__dict__.get("_buffers"), self.__dict__.get("_modules")
        if isinstance(value, (Parameter, Module)):
            self._kinds()
            parts = parameters if isinstance(value, Parameter) else modules
            for other in (self.__dict__, *own):
                if other is not parts and other is not None:
                    other.pop(name, None)
            if isinstance(value, Parameter):
                self.register_parameter(name, value)
            else:
                self.add_module(name, value)
        elif parameters is not None and name in parameters:
            if value is not None:
                raise _unfit(value, "parameter", name, "rustorch.nn.Parameter")
            parameters[name] = None
            self._change()
        elif modules is not None and name in modules:
            if value is not None:
                raise _unfit(value, "child module", name, "rustorch.nn.Module")
            modules[name] = None
            self._change()
        elif buffers is not None and name in buffers:
            if value is not None and not isinstance(value, Tensor):
                raise _unfit(value, "buffer", name, "rustorch.Tensor")
            buffers[name] = value
            self._change()
        else:
            object.__setattr__(self, name, value)
            if name == "training":
                changed()

    def __delattr__(self, name: str) -> None:
        for parts in self._kinds():
            if name in parts:
                del parts[name]
                self._transient.discard(name)
                self._change()
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        names = [*super().__dir__(), *(name for parts in self._kinds() for name in parts)]
        return sorted({name for name in names if name.isidentifier()})

    # --- Walks --------------------------------------------------------------------------------------------------------

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """The module and all modules inside, with their dotted names."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """The module and all modules inside."""
        for _, module in self.named_modules():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules right inside, with their names; each once."""
        seen: set[Module] = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        """The modules right inside."""
        for _, module in self.named_children():
            yield module

    def _named_parts(self, kind: str, prefix: str, recurse: bool, remove_duplicate: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        holders = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for path, module in holders:
            for name, part in module.__dict__[kind].items():
                if part is None or id(part) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(part))
                yield (f"{path}.{name}" if path else name), part

    def named_parameters(self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True) -> Iterator[tuple[str, Parameter]]:
        """The parameters of the module and, with `recurse`, of all modules inside, with their dotted names; each once."""
        return self._named_parts("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters of the module and, with `recurse`, of all modules inside."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True) -> Iterator[tuple[str, Any]]:
        """The buffers of the module and, with `recurse`, of all modules inside, with their dotted names."""
        return self._named_parts("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Any]:
        """The buffers of the module and, with `recurse`, of all modules inside."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def get_submodule(self, target: str) -> Module:
        """The module of a dotted name; the module itself for an empty one."""
        module = self
        for name in target.split(".") if target else ():
            found = module._modules.get(name)
            if found is None:
                raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
            module = found
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter of a dotted name."""
        path, _, name = target.rpartition(".")
        found = self.get_submodule(path)._parameters.get(name)
        if found is None:
            raise AttributeError(f"{type(self).__name__} has no parameter `{target}`")
        return found

    def get_buffer(self, target: str) -> Any:
        """The buffer of a dotted name."""
        path, _, name = target.rpartition(".")
        found = self.get_submodule(path)._buffers.get(name)
        if found is None:
            raise AttributeError(f"`{target}` is not a buffer")
        return found

    # --- Changes ------------------------------------------------------------------------------------------------------

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` with every module inside, and then with the module; gives the module."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def train(self, mode: bool = True) -> Self:
        """Let the module and all inside know that it is trained, or not; gives the module."""
        if not isinstance(mode, bool):
            raise ArgumentError("training mode is expected to be boolean")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """`train(False)`."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Ask for gradients at every parameter, or stop asking; gives the module."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or set them to zero."""
        for parameter in self.parameters():
            if parameter.grad is not None:
                parameter.grad = None if set_to_none else rustorch.zeros_like(parameter.grad)

    def _apply(self, change: Callable[[Any], Any]) -> Self:
        """Replace every parameter, gradient and buffer by what `change` makes of it; gives the module."""
        with no_grad():
            for module in self.modules():
                for parameter in module._parameters.values():
                    if parameter is not None:
                        gradient = parameter.grad
                        parameter.grad = None
                        parameter.data = change(parameter.detach())
                        parameter.grad = None if gradient is None else change(gradient)
                for name, buffer in module._buffers.items():
                    if buffer is not None:
                        module._buffers[name] = change(buffer)
                module._change()
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Change the element type of floating-point parameters and buffers (`to(rustorch.float64)`); gives the module."""
        return self._apply(lambda x: x.to(*args, **kwargs) if x.is_floating_point() else x)

    def type(self, dst_type: Any) -> Self:
        """Change the element type of all parameters and buffers; gives the module."""
        return self._apply(lambda x: x.to(dst_type))

    def float(self) -> Self:
        """Change floating-point parameters and buffers to float32; gives the module."""
        return self.to(rustorch.float32)

    def double(self) -> Self:
        """Change floating-point parameters and buffers to float64; gives the module."""
        return self.to(rustorch.float64)

    def cpu(self) -> Self:
        """The module."""
        return self

    # --- State --------------------------------------------------------------------------------------------------------

    def state_dict(self, *, destination: dict[str, Any] | None = None, prefix: str = "", keep_vars: bool = False) -> dict[str, Any]:
        """Parameters and persistent buffers by their dotted names, without history (`keep_vars`: themselves)."""
        state: dict[str, Any] = OrderedDict() if destination is None else destination
        for path, module in self.named_modules(remove_duplicate=False):
            lead = f"{prefix}{path}." if path else prefix
            for name, part in module._state():
                state[lead + name] = part if keep_vars else part.detach()
        return state

    def _state(self) -> Iterator[tuple[str, Any]]:
        """The module's own parameters and persistent buffers."""
        for name, part in (*self._parameters.items(), *self._buffers.items()):
            if part is not None and name not in self._transient:
                yield name, part

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> IncompatibleKeys:
        """Take over what `state_dict` gave; with `strict`, names must be the same on both sides.

        `assign`: the tensors themselves become parameters and buffers, with their element types.
        """
        if not isinstance(state_dict, Mapping):
            raise ArgumentError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        problems: list[str] = []
        missing, known = [], set()
        with no_grad():
            for path, module in self.named_modules(remove_duplicate=False):
                lead = f"{path}." if path else ""
                for name, part in list(module._state()):
                    known.add(lead + name)
                    if lead + name not in state_dict:
                        missing.append(lead + name)
                    else:
                        _load(module, name, part, lead + name, state_dict[lead + name], assign, problems)
        unexpected = [name for name in state_dict if name not in known]
        if strict:
            for kind, names in (("Unexpected", unexpected), ("Missing", missing)):
                if names:
                    listed = ", ".join(f'"{name}"' for name in names)
                    problems.insert(0, f"{kind} key(s) in state_dict: {listed}. ")
        if problems:
            raise ShapeError("Error(s) in loading state_dict for {}:\n\t{}".format(type(self).__name__, "\n\t".join(problems)))
        return IncompatibleKeys(missing, unexpected)

    # --- Hooks --------------------------------------------------------------------------------------------------------

    def _hooked(self) -> Hooks:
        """The hooks, to which one is going to be added (which lets traced programs know)."""
        if self._hooks is None:
            self._hooks = Hooks()
        return self._hooks

    def register_forward_pre_hook(self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False) -> RemovableHandle:
        """Call `hook(module, args)` before `forward`; what it returns, if not None, goes in instead."""
        return RemovableHandle(self._hooked().before, (hook, with_kwargs), self._change, prepend)

    def register_forward_hook(
        self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args, output)` after `forward`; what it returns, if not None, comes out instead."""
        return RemovableHandle(self._hooked().after, (hook, with_kwargs, always_call), self._change, prepend)

    def register_full_backward_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_output)` when the gradients of the outputs are there; what it returns goes on instead."""
        return RemovableHandle(self._hooked().before_backward, hook, self._change, prepend)

    def register_full_backward_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_input, grad_output)` when the gradients of the inputs are there, too.

        Gradients of inputs that require none are None. What the hook returns, if not None, goes on in the place of `grad_input`.
        """
        return self._register_backward(hook, True, prepend)

    def register_backward_hook(self, hook: Hook) -> RemovableHandle:
        """As `register_full_backward_hook`: gradients are those of the whole module."""
        return self._register_backward(hook, False, False)

    def _register_backward(self, hook: Hook, full: bool, prepend: bool) -> RemovableHandle:
        return self._hooked().register_backward(hook, full, self._change, prepend)

    # --- Text ---------------------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What a module says of itself between the parentheses of its `repr`."""
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        extra = self.extra_repr()
        own = extra.split("\n") if extra else []
        inner = [f"({name}): {_indented(repr(module))}" for name, module in self._modules.items()]
        if not inner and len(own) <= 1:
            return f"{self._get_name()}({''.join(own)})"
        return f"{self._get_name()}(\n  " + "\n  ".join(own + inner) + "\n)"


def _unfit(value: Any, kind: str, name: str, wanted: str) -> ArgumentError:
    return ArgumentError(f"cannot assign '{type(value).__name__}' as {kind} '{name}' ({wanted} or None expected)")


def _indented(text: str) -> str:
    """The text, all but its first line further in by two."""
    return text.replace("\n", "\n  ")


def _load(module: Module, name: str, part: Any, path: str, given: Any, assign: bool, problems: list[str]) -> None:
    """Write a loaded tensor over a parameter or a buffer, or put it in its place."""
    if not isinstance(given, Tensor) and not hasattr(given, "__array__"):
        problems.append(
            f'While copying the parameter named "{path}", expected rustorch.Tensor or Tensor-like object from checkpoint '
            f"but received {type(given)}"
        )
        return
    value = given if isinstance(given, Tensor) else rustorch.tensor(given)
    if value.shape != part.shape:
        problems.append(
            f"size mismatch for {path}: copying a param with shape {value.shape} from checkpoint, "
            f"the shape in current model is {part.shape}."
        )
        return
    if not assign:
        part.copy_(value)
    elif name in module._parameters:
        module._parameters[name] = value if isinstance(value, Parameter) else Parameter(value, requires_grad=part.requires_grad)
    else:
        module._buffers[name] = value
    module._change()
