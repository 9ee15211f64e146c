"""The pipeline: from a tensor graph to native code, one table of passes. Imported at the first compilation."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from weakref import WeakValueDictionary

from rustorch.artifact import Artifact, EntryPlan, Layout, Signature
from rustorch.codegen.assemble import assemble
from rustorch.codegen.convolution import conv_symbol, conv_text
from rustorch.codegen.emit_entry import emit_entry
from rustorch.codegen.emit_pool import PARALLEL_FOR, RESIZE, pool_text
from rustorch.codegen.generate import Generated, generate, merge_modules
from rustorch.codegen.products import gemm_symbol, gemm_text
from rustorch.codegen.target import Target
from rustorch.compiler import stored
from rustorch.compiler.compiled import Compiled
from rustorch.compiler.stored import native_target
from rustorch.config import config
from rustorch.errors import CompilerBug, UserError, compose
from rustorch.ir.analysis import digest
from rustorch.ir.graph import Graph, Node, Value
from rustorch.ir.op import REGISTRY
from rustorch.ir.pattern import Log
from rustorch.ir.printer import to_text
from rustorch.ir.verifier import verify
from rustorch.passes import contract, dead_code, inline, simplify
from rustorch.runtime import threads
from rustorch.runtime.callouts import callout_address
from rustorch.runtime.executable import Executable
from rustorch.runtime.loader import Loaded, load

Pass = Callable[[Graph, Log | None], Graph]
PassLog = Callable[[str, str, Node, Sequence[Value]], None]
"""Called with pass, rule, node and the values that replace the node's results."""

PIPELINE: tuple[tuple[str, Pass, str], ...] = (
    ("inline", inline.run, "composite ops become the ops that define them; `detach` goes"),
    ("simplify", simplify.run, "one spelling per meaning; each step lowers cost"),
    ("dead_code", dead_code.run, "no node without a reader"),
    ("contract", contract.run, "products that are only added are fused multiply-adds"),
)
"""Name, pass, contract. Code generation follows: fuse, lower, expand_math, memory_plan, emit."""

ORDER: tuple[tuple[str, str, str], ...] = (
    ("inline", "simplify", "rules are written for ops that have no definition by others"),
    ("simplify", "dead_code", "rules leave nodes without readers"),
    ("dead_code", "contract", "a product with a dead reader would seem to have two"),
)
"""(before, after, why), checked when this module is imported."""


def _check_order() -> None:
    names = [name for name, _, _ in PIPELINE]
    for before, after, why in ORDER:
        if names.index(before) > names.index(after):
            raise CompilerBug(f"pass {before} must come before {after}: {why}")


_check_order()


_code: WeakValueDictionary[str, Executable] = WeakValueDictionary()
"""By the digest of the simplified graph. Code goes with the last compiled graph that uses it."""
_products: dict[str, Loaded] = {}
_objects: dict[str, bytes] = {}
"""The objects of the shared products, by a symbol of theirs."""
_entries: dict[str, Loaded] = {}
"""Code of Python entries by their text: one serves all graphs of a signature."""
_lock = threading.RLock()


def lowered(graph: Graph, times: dict[str, float] | None = None, log: PassLog | None = None) -> list[tuple[str, Graph]]:
    """The graph after each pass of the pipeline, by the pass's name; `times` receives seconds, `log` every rule applied."""
    stages: list[tuple[str, Graph]] = []
    for name, run, _ in PIPELINE:
        start = time.perf_counter()
        try:
            graph = run(graph, functools.partial(log, name) if log is not None else None)
            if config.verify:
                verify(graph, name)
        except UserError as error:
            raise CompilerBug(compose(f"pass {name} failed on @{graph.name}", str(error), dumped(graph))) from error
        if times is not None:
            times[name] = time.perf_counter() - start
        stages.append((name, graph))
    return stages


def dumped(graph: Graph) -> str:
    """Where the text of a graph was written for a bug report."""
    folder = Path(config.dump) if config.dump else Path("/tmp")
    path = folder / f"rustorch-{digest(graph)[:12]}.ir"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(to_text(graph, locations=True))
    except OSError as error:
        return f"the graph could not be written: {error}"
    return f"the graph is in {path}"


def build(graph: Graph, simplified: Graph | None = None) -> Compiled:
    """Run the passes, unless their result is given; graphs that become equal on the way share their code."""
    start = time.perf_counter()
    compiled = Compiled(graph)
    if not config.eager:
        if simplified is None:
            simplified = lowered(graph, compiled.times)[-1][1]
        key = digest(simplified)
        known = _code.get(key)
        compiled.shared = known is not None
        compiled.executable = known or _native(simplified, f"rt_{key[:16]}", compiled.times)
        _code[key] = compiled.executable
        compiled.artifact = compiled.executable.artifact
        compiled.kernels = compiled.artifact.kernels
    compiled.seconds = time.perf_counter() - start
    return compiled


def _native(graph: Graph, symbol: str, times: dict[str, float]) -> Executable:
    """Code for a simplified graph, loaded; `times` receives the seconds of each part."""
    goal = native_target()
    start = time.perf_counter()
    generated = generate_code(graph, symbol, goal)
    generated_at = time.perf_counter()
    artifact = generated.artifact()
    assembled_at = time.perf_counter()
    loaded = load(artifact.object, [artifact.symbol], imports(generated, goal))
    executable = Executable(artifact, loaded, executor() if artifact.is_parallel else 0)
    times |= {"codegen": generated_at - start, "assemble": assembled_at - generated_at, "load": time.perf_counter() - assembled_at}
    return executable


def generate_code(graph: Graph, symbol: str, goal: Target) -> Generated:
    """Code for a simplified graph; a failure names the graph."""
    try:
        return generate(graph, symbol, goal)
    except (AssertionError, KeyError, IndexError, UserError) as error:
        raise CompilerBug(compose(f"code generation failed on @{graph.name}: {error!r}", dumped(graph))) from error


def imports(generated: Generated, goal: Target) -> Mapping[str, int]:
    """Addresses of the shared matrix products and convolutions, each compiled once per process, and of functions outside."""
    found: dict[str, int] = {}
    for dtype in generated.convolutions:  # these first: they bring the product that they are made of
        symbols = [conv_symbol(dtype, goal), gemm_symbol(dtype, goal)]
        if symbols[0] not in _products:
            made = assemble(merge_modules([gemm_text(dtype, goal), conv_text(dtype, goal)]), goal)
            code = load(made, symbols)
            _objects.update(dict.fromkeys(symbols, made))  # one object defines both, and must not meet another of the product
            _products[symbols[0]] = code
            _products.setdefault(symbols[1], code)
        found[symbols[0]] = _products[symbols[0]].address(symbols[0])
    for dtype in generated.products:
        symbol = gemm_symbol(dtype, goal)
        if symbol not in _products:
            made = assemble(gemm_text(dtype, goal), goal)
            _products[symbol], _objects[symbol] = load(made, [symbol]), made
        found[symbol] = _products[symbol].address(symbol)
    for spec in generated.callouts:
        found[spec.symbol] = callout_address(spec, functools.partial(REGISTRY[spec.op].reference, **dict(spec.attrs)))
    return found


def executor() -> int:
    """The address of the process's worker pool, made when it is first needed; 0 where there is none."""
    with _lock:
        if not stored.pool():
            made = assemble(pool_text(), native_target())
            threads.install(load(made, [PARALLEL_FOR, RESIZE]), PARALLEL_FOR, RESIZE)
            stored.save_pool(made, [PARALLEL_FOR, RESIZE])
        return threads.executor()


def entry_code(signature: Signature, probed: Layout, slots: Mapping[str, int], key: str) -> tuple[EntryPlan, Loaded]:
    """The code of a Python entry; graphs of one signature share it. It is kept on disk by its key."""
    plan = emit_entry(signature, probed, slots)
    with _lock:
        code = _entries.get(plan.text)
        if code is None:
            made = assemble(plan.text, native_target(), quick=True)
            code = _entries[plan.text] = load(made, [plan.symbol])
            stored.save_entry(key, plan, made)
    return plan, code


def objects_of(artifact: Artifact) -> list[bytes]:
    """The objects of the shared products that an artifact's code calls."""
    found = [_objects[symbol] for symbol in artifact.requires if symbol in _objects]
    return list(dict.fromkeys(found))


def one_object(parts: Sequence[Generated], texts: Sequence[str], goal: Target) -> bytes:
    """One object of several graphs' code, the matrix products that they call, and more functions as LLVM text."""
    products = dict.fromkeys(dtype for part in parts for dtype in part.products)
    convolutions = dict.fromkeys(dtype for part in parts for dtype in part.convolutions)
    shared = [*(gemm_text(dtype, goal) for dtype in products), *(conv_text(dtype, goal) for dtype in convolutions)]
    modules = [*(part.llvm for part in parts), *shared, *texts]
    return assemble(merge_modules(modules), goal)
