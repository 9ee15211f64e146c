"""Derivatives along many directions at once: the backward nodes of one cotangent, batched by the ops' own rules.

What does not depend on the cotangents is computed once. So a Jacobian costs one backward pass over a batch, instead of one for each
row (the same for forward mode: `Level` with a batch).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rustorch.autodiff.vjp import pullback
from rustorch.errors import Unsupported
from rustorch.frontend.batching import batch_nodes, batched_graph, repeated
from rustorch.frontend.history import used_history
from rustorch.frontend.pull import Call, Pull, check_history, is_around, pull_closed
from rustorch.frontend.segment import Building, Key
from rustorch.frontend.state import defaults, local
from rustorch.frontend.walk import Walk
from rustorch.ir.builder import Builder
from rustorch.ir.graph import Graph, Value


def over_batch(
    b: Builder, size: int, moved: Mapping[Value, Value], emit: Callable[[Builder, Mapping[Value, Value]], Sequence[Value | None]]
) -> list[Value | None]:
    """What `emit` makes for one of `size` directions, for all of them: `moved` has the batch of directions for each value that moves.

    `emit(b, single)` gets a direction for each of these values, and gives values or None.
    """
    inner = b.region()  # what needs no direction moves out of it
    single = {v: inner.input(v.type) for v in moved}
    found = emit(inner, single)
    new = {v: v for v in b.inputs} | {v: v for node in b.nodes for v in node.results}
    new |= {single[v]: batch for v, batch in moved.items()}
    along = set(single.values())
    batch_nodes(b, Graph("", (), tuple(inner.nodes), ()), new, along, size)
    return [None if v is None else new[v] if v in along else repeated(b, new[v], size) for v in found]


class BatchedPull(Pull):
    """As `Pull`, for cotangents with a leading batch dimension.

    Its key: the size of the batch; numbers of the roots; of their cotangents; of the values whose cotangent is wanted; whether the
    results are differentiable.
    """

    def build(self, building: Building, key: Key) -> tuple[Value, ...]:
        _, size, roots, given, wanted, create = key
        b = building.b
        forward, outputs, places = tuple(b.nodes), building.values(roots), building.values(wanted)
        moved = dict(zip(outputs, building.values(given), strict=True))
        found = over_batch(b, size, moved, lambda inner, single: pullback(inner, forward, outputs, list(single.values()), places))
        building.remark = (tuple(i for i, ct in enumerate(found) if ct is not None), used_history(building, roots, wanted))
        results = [ct for ct in found if ct is not None]
        return tuple(results if create else map(b.detach, results))

    def operands(self, key: Key) -> list[int]:
        return [*key[2], *key[3]]


BATCHED_PULL = BatchedPull()


class BatchedWalk(Walk):
    """A backward pass with a batch of cotangents."""

    def __init__(self, tensors: Sequence[Any], create: bool, retain: bool, size: int) -> None:
        super().__init__(tensors, False, create, retain)
        self.size = size

    def has_stops(self) -> bool:
        """Whether anything is attached that wants to be called with single gradients."""
        if not defaults.hooked:
            return False
        self.plan()
        ways = ((segment, self.courses.get(id(segment))) for segment in self.segments())
        return any(way is not None and self.stops(segment, way) for segment, way in ways)

    def run(self) -> None:
        """Pull through all segments, the last one first."""
        while self.pending:
            self.pull(*self.pending.pop(self.latest()))
        for x, _ in list(self.leaves.values()):
            self.finish(x)

    def pulled(self, segment: Any, seeds: dict[int, Any], places: Sequence[int]) -> dict[int, Any]:
        """The gradients at some places of a segment, a batch of each."""
        now, wanted = local.segment, tuple(dict.fromkeys(places))
        if segment is now:
            given = tuple(now.number_of(ct) for ct in seeds.values())
            results = now.record_key(BATCHED_PULL, (BATCHED_PULL, self.size, tuple(seeds), given, wanted, self.create))
            found, bits = now.remark()
        elif is_around(segment):
            raise Unsupported("a batch of gradients of what was recorded around a traced function")
        else:
            results, found, bits = pull_closed(segment, seeds, wanted, {}, self.create, self.over)
        check_history(segment, bits)
        if not self.retain:
            segment.free(bits)
        return {wanted[i]: ct for i, ct in zip(found, results, strict=True)}

    def over(self, call: Call, single: Sequence[bool]) -> Call:
        """A call of a graph for the whole batch: its inputs that are not `single` have a batch dimension."""
        key = (self.size, tuple(single))
        known = call.batches.get(key)
        if known is None:
            known = call.batches[key] = Call(batched_graph(call.graph, [not yes for yes in single], self.size), call.name)
        return known


__all__ = ["BatchedWalk", "over_batch"]
