"""What all optimisers share: groups of parameters with settings, the parameters' state, one operation a step.

A step of a group is one operation on all its parameters (`functional/update.py`), run at once as a program of its own, or
recorded where a function is traced. The learning rate and the counts of steps are 0-d tensors, so the program stays the same
while they change.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any

import numpy as np

import rustorch
from rustorch import Tensor, changed, enable_grad, watch
from rustorch.errors import ArgumentError
from rustorch.functional.update import Advance


class Group(dict[str, Any]):
    """Parameters and their settings, by name. The learning rate is kept in a tensor, too: `rate`."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self.plans: dict[tuple[bool, ...], Plan] = {}
        """What a step needs, by which of the parameters have a gradient."""
        self.rate: Any = None
        if "lr" in settings:
            self["lr"] = settings["lr"]

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        if name == "lr":
            self._take_rate(value)
            return
        changed()  # `settings` are part of programs
        if name == "params":
            self.plans = {}

    def _take_rate(self, value: Any) -> None:
        if isinstance(value, Tensor):
            self.rate = value
            self.plans = {}
            changed()
        elif self.rate is None:
            self.rate = cell(value)
        else:
            self.rate.data = cell(value)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set several settings."""
        for name, value in dict(*args, **kwargs).items():
            self[name] = value

    @property
    def settings(self) -> tuple[Any, ...]:
        """What a program depends on: the settings but the learning rate, and which tensor holds that."""
        return (id(self.rate), *(value for name, value in self.items() if name not in ("params", "lr", "initial_lr")))

    def __reduce__(self) -> Any:
        return Group, (dict(self),)


class Plan:
    """A step of those parameters of a group that have a gradient, in parts that share their count of steps."""

    def __init__(self, settings: list[Any], parts: list[tuple[list[int], Advance]]) -> None:
        self.settings, self.parts = settings, parts


def cell(value: float) -> Any:
    """A 0-d tensor of a number, even while a function is traced."""
    return Tensor(np.array(value, np.float64))


class Optimizer:
    """Moves parameters by their gradients.

    Subclasses name the `operation` of a step, the settings that it takes after the learning rate (`arguments`), and say which
    tensors go with each parameter (`moments`) and whether steps are counted (`counts`).
    """

    operation: Callable[..., Any]
    arguments: tuple[str, ...] = ()
    scalars: frozenset[str] = frozenset()
    """Names of moments that have no dimension."""
    rated = True
    """Whether a step depends on the learning rate."""

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        if isinstance(params, (Tensor, str)) or not isinstance(params, Iterable):
            raise ArgumentError(
                f"params argument given to the optimizer should be an iterable of Tensors or dicts, but got {type(params).__name__}"
            )
        self.defaults = defaults
        self.state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[Group] = []
        listed = list(params)
        if not listed:
            raise ArgumentError("optimizer got an empty parameter list")
        for group in listed if isinstance(listed[0], dict) else [{"params": listed}]:
            self.add_param_group(group)

    # --- What subclasses say ------------------------------------------------------------------------------------------

    def moments(self, group: Group) -> dict[str, float]:
        """The tensors that go with each parameter, by name, and the number that they are full of at first."""
        return {}

    def counts(self, group: Group) -> bool:
        """Whether a step depends on the number of the steps before."""
        return False

    # --- Groups -------------------------------------------------------------------------------------------------------

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters, with settings of their own."""
        if not isinstance(param_group, dict):
            raise ArgumentError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, set):
            raise ArgumentError(
                "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in sets will change "
                "between runs. Please use a list instead."
            )
        params = [params] if isinstance(params, Tensor) else [p[1] if isinstance(p, tuple) else p for p in params]
        known = {id(p) for group in self.param_groups for p in group["params"]}
        for p in params:
            if not isinstance(p, Tensor):
                raise ArgumentError(f"optimizer can only optimize Tensors, but one of the params is {type(p).__name__}")
            if not p.is_leaf:
                raise ArgumentError("can't optimize a non-leaf Tensor")
            if id(p) in known:
                raise ArgumentError("some parameters appear in more than one parameter group")
        if len({id(p) for p in params}) != len(params):
            raise ArgumentError("optimizer contains a parameter group with duplicate parameters")
        self.param_groups.append(Group({**self.defaults, **param_group, "params": params}))

    @property
    def learning_rate(self) -> float:
        """The learning rate of the first group."""
        return float(self.param_groups[0]["lr"])

    @learning_rate.setter
    def learning_rate(self, lr: float) -> None:
        self.set_lr(lr)

    def set_lr(self, lr: float) -> None:
        """Set the learning rate of all groups. No program is compiled anew for it."""
        for group in self.param_groups:
            group["lr"] = lr

    # --- Steps --------------------------------------------------------------------------------------------------------

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or set them to zero."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p.grad = None
                elif p.grad is not None:
                    p.grad = rustorch.zeros_like(p.grad)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move the parameters that have a gradient; gives what `closure`, which is called first, returns."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            watch(group, "settings")
            grads = [p.grad for p in group["params"]]
            there = tuple([g is not None for g in grads])
            plan = group.plans.get(there)
            settings = [group[name] for name in self.arguments]
            if plan is None or plan.settings != settings:
                plan = self._plan(group, there, settings)
                group.plans[there] = plan
            for places, advance in plan.parts:
                advance(grads if len(places) == len(grads) else [grads[i] for i in places])
        return loss

    def _plan(self, group: Group, there: tuple[bool, ...], settings: list[Any]) -> Plan:
        """The plan of a step of the parameters that have gradients."""
        moving = [i for i, has in enumerate(there) if has]
        params, names = group["params"], self.moments(group)
        for i in moving:
            state, p = self.state[params[i]], params[i]
            if p.dtype.kind != "float":
                raise ArgumentError(f"an optimizer moves floating-point tensors, not {p.dtype}")
            for name, value in names.items():
                if name not in state:
                    state[name] = Tensor(np.full(() if name in self.scalars else p.shape, value, p.dtype.numpy))
        shared = self._counted(group, moving) if self.counts(group) else [(None, moving)] if moving else []
        parts = []
        for step, places in shared:
            moved = [params[i] for i in places]
            moments = [self.state[p][name] for name in names for p in moved]
            arguments = (moved, None, moments, step, group.rate if self.rated else None, *settings)
            into = [*moved, *moments, *(() if step is None else (step,))]
            parts.append((places, Advance(self.operation, arguments, 1, into, len(moved))))
        return Plan(settings, parts)

    def _counted(self, group: Group, moving: list[int]) -> list[tuple[Any, list[int]]]:
        """The counts of steps of parameters, which share one where they have always moved together, and will now."""
        params = group["params"]
        fresh = cell(0)
        users: dict[int, list[int]] = {}
        for i, p in enumerate(params):
            if "step" in self.state.get(p, ()):
                users.setdefault(id(self.state[p]["step"]), []).append(i)
            elif i in moving:
                self.state[p]["step"] = fresh
                users.setdefault(id(fresh), []).append(i)
        counted = []
        for places in users.values():
            together = [i for i in places if i in moving]
            if not together:
                continue
            step = self.state[params[together[0]]]["step"]
            if len(together) < len(places):  # some stay behind: from now on these have a count of their own
                step = Tensor(np.array(step.detach()))
                for i in together:
                    self.state[params[i]]["step"] = step
                group.plans = {}
            counted.append((step, together))
        return counted

    # --- State --------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The parameters' state and the groups' settings, with parameters as numbers."""
        numbers = {id(p): i for i, p in enumerate(p for group in self.param_groups for p in group["params"])}
        groups = [
            {**{name: value for name, value in group.items() if name != "params"}, "params": [numbers[id(p)] for p in group["params"]]}
            for group in self.param_groups
        ]
        return {"state": {numbers[id(p)]: dict(state) for p, state in self.state.items() if state}, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        given = state_dict["param_groups"]
        if len(given) != len(self.param_groups):
            raise ArgumentError("loaded state dict has a different number of parameter groups")
        if any(len(new["params"]) != len(group["params"]) for new, group in zip(given, self.param_groups, strict=True)):
            raise ArgumentError("loaded state dict contains a parameter group that doesn't match the size of optimizer's group")
        params: dict[Any, Any] = {}
        for new, group in zip(given, self.param_groups, strict=True):
            params.update(zip(new["params"], group["params"], strict=True))
            group.update({name: deepcopy(value) for name, value in new.items() if name != "params"})
            group.plans = {}
        self.state = defaultdict(dict)
        copies: dict[int, Any] = {}
        for number, state in state_dict["state"].items():
            self.state[params[number]] = {name: _loaded(name, x, params[number], copies) for name, x in state.items() if x is not None}

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": dict(self.state), "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.state = defaultdict(dict, state["state"])

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines += [f"Parameter Group {i}", *(f"    {name}: {group[name]}" for name in sorted(group) if name != "params")]
        return "\n".join(lines) + "\n)"


def _loaded(name: str, x: Any, p: Any, copies: dict[int, Any]) -> Any:
    """A tensor of a loaded state in an array of its own: moments in the parameter's element type, counts in float64."""
    if name == "step":
        if id(x) not in copies:
            copies[id(x)] = cell(float(x))
        return copies[id(x)]
    if not isinstance(x, Tensor) and not hasattr(x, "__array__"):
        return deepcopy(x)
    return Tensor(np.array(x, p.dtype.numpy))


def check(holds: bool, what: str, value: Any) -> None:
    """Refuse a setting."""
    if not holds:
        raise ArgumentError(f"Invalid {what}: {value}")


def adaptive_settings(lr: Any, betas: tuple[float, float], eps: float, weight_decay: float) -> dict[str, Any]:
    """The settings that Adam and its relatives share, checked."""
    check(float(lr) >= 0, "learning rate", lr)
    check(eps >= 0, "epsilon value", eps)
    for i in (0, 1):
        check(0 <= betas[i] < 1, f"beta parameter at index {i}", betas[i])
    check(weight_decay >= 0, "weight_decay value", weight_decay)
    return {"lr": lr, "betas": (float(betas[0]), float(betas[1])), "eps": eps, "weight_decay": weight_decay}
