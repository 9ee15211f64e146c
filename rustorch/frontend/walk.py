"""One backward pass: a walk over segments, the last one first, and inside each over what is to be seen or changed.

Where nothing is attached to a segment, all its gradients are pulled at once. Otherwise the walk comes to *stops*, in PyTorch's
order (`course.py`): at each, the gradients that are complete are pulled, hooks are called with them, and what they answer replaces
the gradient in later pulls. Between stops nothing is kept but recorded operations, so all of it is one program.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rustorch.frontend.base import TensorBase
from rustorch.frontend.course import Course, course, operation_at
from rustorch.frontend.elementwise import functions
from rustorch.frontend.flow import flow_through
from rustorch.frontend.hooks import call_accumulate_hooks, call_node_hooks, call_tensor_hooks, place_of
from rustorch.frontend.modes import set_mode
from rustorch.frontend.pull import check_history, pull_segment
from rustorch.frontend.recorder import ALL
from rustorch.frontend.segment import Origin
from rustorch.frontend.state import defaults, local
from rustorch.frontend.storage import is_leaf, rebind, same
from rustorch.frontend.trace import Trace


@dataclass
class Stop:
    """An operation, or a leaf, at which hooks are called."""

    place: int
    """The number of the operation's first result; of a leaf, of the operation after which its gradient is complete."""
    numbers: list[int] = field(default_factory=list)
    """The operation's results; the leaf's number."""
    leaf: TensorBase | None = None

    @property
    def order(self) -> tuple[int, bool]:
        """Stops are made from the largest to the smallest."""
        return self.place, self.leaf is None


class Walk:
    """What a backward pass is asked for, and what it found.

    `tensors`: where gradients are wanted, or None for all leaves. `accumulates`: they are added to `.grad`.
    """

    def __init__(self, tensors: Sequence[TensorBase] | None, accumulates: bool, create: bool, retain: bool) -> None:
        self.tensors, self.accumulates, self.create, self.retain = tensors, accumulates, create, retain
        self.chosen = None if tensors is None else {id(x) for x in tensors}
        self.found: dict[int, Any] = {}
        """By `id`: the gradients of tensors that were asked for."""
        self.leaves: dict[int, tuple[TensorBase, Any]] = {}
        """By `id`: leaves that gradients have reached, with the sum so far."""
        self.pending: dict[int, tuple[Any, dict[int, Any]]] = {}
        """By `id`: segments that gradients must go on in, and the cotangents there."""
        self.courses: dict[int, Course] = {}
        """By `id` of a segment; only where hooks are possible."""
        self.at: tuple[Any, ...] = ()
        """The gradients at the operation that is being passed."""
        self.last: dict[int, int] = {}
        """By `id` of a leaf: the `id` of the segment that is the last to add to its gradient."""

    # --- Where gradients begin and end --------------------------------------------------------------------------------

    def seed(self, segment: Any, number: int, ct: Any) -> None:
        """Note a cotangent at a value of a segment."""
        _, seeds = self.pending.setdefault(id(segment), (segment, {}))
        if number in seeds:
            ct = _plus(seeds[number], ct)
        seeds[number] = ct

    def reach(self, x: TensorBase, gradient: Any) -> None:
        """Note a gradient at a leaf."""
        if self.chosen is not None and id(x) not in self.chosen:
            return
        known = self.leaves.get(id(x))
        self.leaves[id(x)] = (x, gradient if known is None else _plus(known[1], gradient))

    def finish(self, x: TensorBase) -> None:
        """The gradient of a leaf is complete: call its hooks, and add it to `.grad`."""
        known = self.leaves.pop(id(x), None)
        if known is None:
            return
        gradient = known[1]
        extra = x._extra
        watch_hooks(x)
        if extra is None:
            if self.accumulates:
                accumulate(x, gradient, self.create)
            else:
                self.found[id(x)] = gradient
            return
        gradient = call_tensor_hooks(extra.hooks.values(), gradient, self.create)
        if not self.accumulates:
            self.found[id(x)] = gradient
            return
        node = extra.node
        if node is not None:
            (gradient,) = call_node_hooks(node.before.values(), (gradient,), (), self.create)
        if gradient is not None:
            seen = extra.hooks or (node is not None and node.before)  # a hook may have kept the tensor: .grad is another one
            accumulate(x, same(gradient) if seen else gradient, self.create)
        call_accumulate_hooks(x, extra.after.values(), self.create)
        if node is not None:
            call_node_hooks(node.after.values(), (), ((gradient,),), self.create)

    def will_reach(self, x: TensorBase) -> bool:
        """Whether the pass computes the gradient of a tensor."""
        if is_leaf(x):
            return id(x) in self.last or id(x) in self.leaves
        segment, number = place_of(x)
        known = self.courses.get(id(segment))
        return known is not None and number in known.reached

    # --- Over segments ------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Pull through all segments, the last one first."""
        before = local.walk
        local.walk = self
        try:
            stops = defaults.hooked and self.may_stop()
            if stops:
                self.plan()
                for x, _ in list(self.leaves.values()):
                    if id(x) not in self.last:  # a root
                        self.finish(x)
            while self.pending:
                segment, seeds = self.pending.pop(self.latest())
                if stops:
                    self.through(segment, seeds)
                else:
                    self.pull(segment, seeds)
            for x, _ in list(self.leaves.values()):
                self.finish(x)
        finally:
            local.walk = before

    def may_stop(self) -> bool:
        """Whether anything is attached to the segments that the pass may come to, or to their leaves."""
        segments = self.segments()
        if any(map(_is_attached_to, segments)):
            return True
        leaves = [x for segment in segments for x, origin in segment.sources.values() if origin is None]
        return any(map(_is_hooked, (*leaves, *(x for x, _ in self.leaves.values()))))

    def segments(self) -> list[Any]:
        """The segments that the pass may come to."""
        found = [segment for segment, _ in self.pending.values()]
        known = set(map(id, found))
        for segment in found:  # the loop goes on over what is added
            for _, origin in segment.sources.values():
                if origin is not None and id(origin[0]) not in known:
                    known.add(id(origin[0]))
                    found.append(origin[0])
        return found

    def latest(self) -> int:
        """The key of the segment that gradients go through next."""
        return max(self.pending, key=lambda k: _order(self.pending[k][0]))

    def plan(self) -> None:
        """Find out which segments the pass goes through, and how."""
        waiting = {key: (segment, set(seeds)) for key, (segment, seeds) in self.pending.items()}
        order: list[tuple[Any, tuple[int, ...]]] = []
        while waiting:
            segment, numbers = waiting.pop(max(waiting, key=lambda k: _order(waiting[k][0])))
            roots = tuple(sorted(numbers))
            order.append((segment, roots))
            found = self.courses[id(segment)] = course(segment, roots, tuple(segment.sources))
            for number, (_, origin) in segment.sources.items():
                if origin is not None and number in found.reached:
                    waiting.setdefault(id(origin[0]), (origin[0], set()))[1].add(origin[1])
        if self.tensors is not None:
            for segment, roots in reversed(order):
                wanted = [*self.asked(segment), *(n for n, s in segment.sources.items() if s[1] is not None and self.leads_on(s[1]))]
                self.courses[id(segment)] = course(segment, roots, tuple(dict.fromkeys(wanted)))
        for segment, _ in order:
            reached = self.courses[id(segment)].reached
            for number, (x, origin) in segment.sources.items():
                if origin is None and number in reached and (self.chosen is None or id(x) in self.chosen):
                    self.last[id(x)] = id(segment)

    def asked(self, segment: Any) -> dict[int, TensorBase]:
        """The tensors that were asked for and are values of a segment, by number: a leaf has several where its memory is shared."""
        found = {n: x for x in self.tensors or () if (n := number_in(segment, x)) is not None}
        for number, (x, origin) in segment.sources.items():
            if origin is None and self.chosen is not None and id(x) in self.chosen:
                found[number] = x
        return found

    def leads_on(self, origin: Origin) -> bool:
        """Whether gradients at a value of an earlier segment are wanted, or lead to some that are."""
        known = self.courses.get(id(origin[0]))
        return known is not None and origin[1] in known.reached

    # --- Through one segment ------------------------------------------------------------------------------------------

    def pull(self, segment: Any, seeds: dict[int, Any]) -> None:
        """Pull through a segment to which nothing is attached."""
        asked = self.asked(segment)
        exits = {n: (asked.get(n), segment.sources.get(n)) for n in (*segment.sources, *asked)}
        places = [n for n, (x, source) in exits.items() if self.tensors is None or x is not None or (source and source[1])]
        for number, gradient in self.pulled(segment, seeds, places).items():
            self.arrive(gradient, *exits[number])

    def pulled(self, segment: Any, seeds: dict[int, Any], places: Sequence[int]) -> dict[int, Any]:
        """The gradients at some places of a segment to which nothing is attached."""
        return pull_segment(segment, seeds, places, {}, self.create, self.retain)

    def arrive(self, gradient: Any, x: TensorBase | None, source: tuple[TensorBase, Origin | None] | None) -> None:
        """Note a gradient at a place where one leaves a segment (its source), or is asked for (by the tensor)."""
        if x is not None and not is_leaf(x):
            self.found[id(x)] = gradient
        if source is not None:
            if source[1] is not None:
                self.seed(*source[1], gradient)
            else:
                self.reach(source[0], gradient)

    def through(self, segment: Any, seeds: dict[int, Any]) -> None:
        """Pull through a segment from stop to stop."""
        way = self.courses[id(segment)]
        check_history(segment, way.bits if segment.freed != ALL else ALL)
        asked = self.asked(segment)
        exits = list(dict.fromkeys(n for n in (*segment.sources, *asked) if n in way.reached))
        replaced: dict[int, Any] = {}
        for stop in self.stops(segment, way):
            early = [n for n in exits if self.is_complete(segment, n, way, stop)]
            at = pull_segment(segment, seeds, [*early, *stop.numbers], replaced, self.create, True)
            for number in early:
                exits.remove(number)
                if number in at:
                    self.arrive(at[number], asked.get(number), segment.sources.get(number))
                    self.finish(segment.sources[number][0])
            if stop.leaf is not None:
                exits.remove(stop.numbers[0])
                if stop.numbers[0] in at:
                    self.arrive(at[stop.numbers[0]], None, segment.sources[stop.numbers[0]])
                    self.finish(stop.leaf)
            else:
                self.stop(segment, stop, {n: at[n] for n in stop.numbers if n in at}, seeds, replaced, asked)
                exits = [n for n in exits if n not in stop.numbers]
        if exits:
            at = pull_segment(segment, seeds, exits, replaced, self.create, True)
            for number, gradient in at.items():
                self.arrive(gradient, asked.get(number), segment.sources.get(number))
        for number, (x, _) in list(segment.sources.items()):
            if number in way.reached and self.completes(segment, number):
                self.finish(x)
        if not self.retain:
            segment.free(way.bits)
            for first in way.runs & segment.packed.keys():
                segment.packed[first].free()

    def is_complete(self, segment: Any, number: int, way: Course, stop: Stop) -> bool:
        """Whether a number is that of a leaf whose whole gradient is there before a stop."""
        return self.completes(segment, number) and number not in stop.numbers and way.ready.get(number, -1) > stop.place

    def completes(self, segment: Any, number: int) -> bool:
        """Whether a number is that of a leaf, and no later segment adds to its gradient."""
        return self.ends_at(segment, number) and self.last.get(id(segment.sources[number][0])) == id(segment)

    def stops(self, segment: Any, way: Course) -> list[Stop]:
        """The stops in a segment, in order."""
        hooked = {n for n, hooks in segment.hooks.items() if hooks} | retained(segment).keys()
        firsts = {operation_at(segment, n).first for n in hooked & way.reached if not self.ends_at(segment, n)}
        firsts |= {n for n, node in segment.nodes.items() if n in way.runs and _is_watched(node)}
        firsts |= way.runs & segment.packed.keys()
        found = []
        for first in firsts:
            place = operation_at(segment, first)
            found.append(Stop(first, list(range(first, first + place.count))))
        for number, (x, _) in segment.sources.items():
            if number in way.reached and self.completes(segment, number) and _is_hooked(x):
                found.append(Stop(way.ready.get(number, number), [number], x))
        return sorted(found, key=lambda stop: stop.order, reverse=True)

    def ends_at(self, segment: Any, number: int) -> bool:
        """Whether a number is that of a leaf."""
        source = segment.sources.get(number)
        return source is not None and source[1] is None

    def stop(
        self, segment: Any, stop: Stop, at: dict[int, Any], seeds: dict[int, Any], replaced: dict[int, Any], asked: dict[int, TensorBase]
    ) -> None:
        """Call what is attached to the results of an operation, and to the operation."""
        first, way = stop.place, self.courses[id(segment)]
        kept = retained(segment)
        gradients: dict[int, Any] = {}
        for number in stop.numbers:
            hooks = segment.hooks.get(number)
            gradients[number] = call_tensor_hooks(hooks.values(), at.get(number), self.create) if hooks else at.get(number)
        for number, gradient in gradients.items():
            if number in kept and gradient is not None:
                add_to_grad(kept[number], same(gradient) if segment.hooks.get(number) else gradient)
            if gradient is not None and (number in asked or number in segment.sources):
                self.arrive(gradient, asked.get(number), segment.sources.get(number))
        node = segment.nodes.get(first)
        packed = segment.packed.get(first)
        if first in way.runs and (node is not None or packed is not None):
            outputs = tuple(gradients.values())
            if node is not None:
                outputs = call_node_hooks(node.before.values(), outputs, (), self.create)
                gradients = dict(zip(gradients, outputs, strict=True))
            if packed is not None or (node is not None and node.after):
                self.at = outputs
                inputs = flow_through(segment, first, outputs, packed, self.create)
                if node is not None:
                    flows = call_node_hooks(node.after.values(), tuple(g for _, g in inputs), (outputs,), self.create)
                    inputs = [(n, g) for (n, _), g in zip(inputs, flows, strict=True)]
                for number in stop.numbers:
                    seeds.pop(number, None)
                    replaced[number] = None
                for slot, gradient in inputs:
                    if slot is not None and gradient is not None and slot in way.reached:
                        seeds[slot] = _plus(seeds[slot], gradient) if slot in seeds else gradient
                return
        replaced.update({n: g for n, g in gradients.items() if n in at and (g is not at[n] or _has_moved(g))})


def _has_moved(gradient: Any) -> bool:
    """Whether a gradient was written in place, or computed, since it was pulled: then later pulls begin with it."""
    return gradient is not None and (gradient._segment is not local.segment or gradient._extra is not None)


def _is_attached_to(segment: Any) -> bool:
    """Whether hooks, or what they have packed, belong to values or operations of a segment."""
    return bool(segment.packed or segment.retained or any(segment.hooks.values()) or any(map(_is_watched, segment.nodes.values())))


def _is_hooked(x: TensorBase) -> bool:
    extra = x._extra
    return extra is not None and bool(extra.hooks or extra.after or _is_watched(extra.node))


def _is_watched(node: Any) -> bool:
    return node is not None and bool(node.before or node.after)


def watch_hooks(x: TensorBase) -> None:
    """Let a function that is being traced depend on which hooks a leaf from outside has."""
    segment = local.segment
    if isinstance(segment, Trace) and not segment.is_own(x):
        segment.watch(x, "_hooked")


def retained(segment: Any) -> dict[int, TensorBase]:
    """The tensors of a segment that ask for their gradient, by the number that they have now."""
    found = {}
    for reference in segment.retained.values():
        x = reference()
        if x is not None and x._requires_grad:
            home, number = place_of(x)
            if home is segment:
                found[number] = x
    return found


def number_in(segment: Any, x: TensorBase) -> int | None:
    """The number that a tensor has in a segment, where gradients of it are to be found; None where it has none."""
    if x._origin is not None:
        return x._origin[1] if x._origin[0] is segment else None
    if x._segment is segment:
        return x._number
    known: int | None = segment.known.get(id(x))
    if known is None:
        known = next((n for n, (t, origin) in segment.sources.items() if t is x and origin is None), None)
    return known


def _order(segment: Any) -> float:
    return segment.serial if getattr(segment, "closed", False) else float("inf")


def _plus(x: Any, y: Any) -> Any:
    return functions["add"](x, y)


def set_gradient(x: TensorBase, gradient: Any) -> None:
    """Put a gradient into `.grad`."""
    local.segment.about_to_set_grad(x)
    x._grad = gradient


def add_to_grad(x: TensorBase, gradient: Any) -> None:
    """Put the sum of `.grad` and a gradient into `.grad`."""
    local.segment.about_to_read_grad(x)
    set_gradient(x, gradient if x._grad is None else _plus(x._grad, gradient))


def accumulate(x: TensorBase, gradient: Any, create: bool) -> None:
    """Add a gradient to `.grad`: to the same tensor, unless the sum is to be differentiable."""
    with _accumulating:
        local.segment.about_to_read_grad(x)
        if x._grad is None or create:
            add_to_grad(x, gradient)
        else:
            before = local.grad
            set_mode(False)
            try:
                rebind(x._grad, _plus(x._grad, gradient))
            finally:
                set_mode(before)


_accumulating = threading.RLock()
"""Held while a `.grad` is read and written: threads may share leaves."""
