"""The stages: their text, that it parses, and that lines are linked from the user's program to the assembly."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rustorch
from rustorch.config import config
from rustorch.errors import ArgumentError
from rustorch.frontend.jit import jit
from rustorch.frontend.transforms import grad, value_and_grad
from rustorch.inspection import Inspection, inspect
from rustorch.inspection.native import with_line_numbers
from rustorch.inspection.stages import LEVELS, TENSOR_LEVELS
from rustorch.ir.analysis import digest
from rustorch.ir.builder import Builder
from rustorch.ir.dtypes import f32
from rustorch.ir.location import Location
from rustorch.ir.parser import parse
from rustorch.ir.printer import payloads
from tests.inspection import programs
from tests.inspection.programs import seen_training, squares
from tests.random_graphs import random_case

X = np.ones(1024, np.float32)
HERE = Path(__file__).parent


def test_the_stages_of_a_gradient(golden: Callable[[Path, str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "isa", "v3")
    seen = programs.seen_squares()
    golden(HERE / "squares.txt", "\n".join(f"== {level}\n{seen.text(level)}" for level in LEVELS[:6]))


def test_every_level_has_text() -> None:
    stages = seen_training().stages()
    assert tuple(stages) == LEVELS
    assert all(text.strip() for text in stages.values())
    assert "define i32 @train(ptr %dims, ptr %args, ptr %work, ptr %executor)" in stages["llvm"]
    assert "train:" in stages["asm"]


@pytest.mark.parametrize("level", TENSOR_LEVELS)
def test_tensor_stages_parse_back(level: str) -> None:
    seen = seen_training()
    graph = getattr(seen, level).graph
    assert digest(parse(seen.text(level), payloads(graph))) == digest(graph)


def test_loops_parse_back() -> None:
    seen = seen_training()
    sections = seen.stage("loop").sections
    assert len(sections) == len(seen.fusion.lowered)
    for section, lowered in zip(sections, seen.fusion.lowered.values(), strict=True):
        assert digest(parse(section.text, payloads(lowered.graph))) == digest(lowered.graph)


@pytest.mark.parametrize("seed", range(12))
def test_random_graphs(seed: int) -> None:
    """Any graph can be looked at; its tensor stages and loops parse back."""
    seen = Inspection.of_graph(random_case(seed).graph)
    for level in TENSOR_LEVELS:
        graph = getattr(seen, level).graph
        assert digest(parse(seen.text(level), payloads(graph))) == digest(graph)
    for section, lowered in zip(seen.stage("loop").sections, seen.fusion.lowered.values(), strict=True):
        assert digest(parse(section.text, payloads(lowered.graph))) == digest(lowered.graph)
    fused = " ".join(line.text for section in seen.stage("fused").sections for line in section.lines)
    assert "%?" not in fused  # every value has a name
    assert seen.text("asm") and str(seen) and seen.to_json()


def test_the_text_of_llvm_and_assembly_is_what_the_compiler_makes() -> None:
    seen = seen_training()
    emitted = [line for line in seen.generated.llvm.splitlines() if line]
    assert emitted == [line for line in seen.text("llvm").splitlines() if line]
    assert [line for line in seen.generated.assembly().splitlines() if line] == [line for line in seen.text("asm").splitlines() if line]


def numbers_at(seen: Inspection, level: str) -> set[int]:
    return {number for section in seen.stage(level).sections for line in section.lines for number in line.links}


def test_every_computed_node_is_found_in_every_stage_below() -> None:
    """Each node that a kernel computes has a line in the loops, in LLVM and in the assembly (products have a call)."""
    seen = seen_training()
    computed = {number for kernel in seen.kernels for number in kernel.links}
    loops = {number for kernel in seen.kernels if kernel.kind == "kernel" for number in kernel.links}
    assert loops <= numbers_at(seen, "loop")
    assert computed <= numbers_at(seen, "llvm")
    missing = loops - numbers_at(seen, "asm")  # what folds into the operand of another instruction has none of its own
    assert len(missing) <= 0.15 * len(loops)


def test_every_instruction_of_a_kernel_that_computes_is_linked() -> None:
    seen = seen_training()
    arithmetic = re.compile(r" = (?:f(?:add|mul|sub|div|neg|cmp) |call .*@llvm\.(?:fma|maximum|minimum))")
    kernels = [section for section in seen.stage("llvm").sections if section.title.startswith("@train.k")]
    lines = [line for section in kernels for line in section.lines if arithmetic.search(line.text)]
    assert len(lines) > 50
    assert [line.text for line in lines if not line.links] == []


def test_links_lead_to_the_line_of_the_program() -> None:
    seen = inspect(value_and_grad(squares))(X)
    (product,) = [node for node in seen.nodes_of("traced") if node.op == "mul"]
    line = Path(programs.__file__).read_text().splitlines()[product.location.line - 1]
    assert line.strip() == "y = x * x"
    for level in LEVELS:
        assert product.number in numbers_at(seen, level)


def test_a_node_that_is_rewritten_knows_what_it_was() -> None:
    """`2 x` of the gradient comes from the product of the forward pass."""
    seen = inspect(value_and_grad(squares))(X)
    forward = next(node for node in seen.nodes_of("traced") if node.op == "mul")
    last = seen.simplified.graph.outputs
    gradient = next(node for node in seen.nodes if node.id in {seen.ids("simplified")[v] for v in last} and node.type == "f32[1024]")
    assert forward.number in seen.origins.ancestors(gradient.number)


def test_a_node_that_stays_keeps_its_number() -> None:
    seen = seen_training()
    found = [{n.number for n in seen.nodes_of(level) if n.op == "gather"} for level in TENSOR_LEVELS]
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 1


def test_a_node_that_is_absorbed_is_found_in_what_does_its_work() -> None:
    """x * x + y becomes one fma: the product is not lost."""
    b = Builder()
    x, y = b.input(f32[64], "x"), b.input(f32[64], "y")
    with b.at(Location("f.py", 1, 1, "f")):
        product = b.mul(x, x)
    with b.at(Location("f.py", 2, 1, "f")):
        total = b.add(product, y)
    seen = Inspection.of_graph(b.build([total], "f"))
    (fma,) = seen.nodes
    before = {node.op: node.number for node in seen.nodes_of("differentiated")}
    assert fma.op == "fma"
    assert seen.related(before["mul"]) >= {fma.number, before["mul"]}
    assert seen.origins.ancestors(fma.number) == {before["add"], before["mul"]}


def test_rules_are_told() -> None:
    seen = inspect(value_and_grad(squares))(X)
    rules = {each.rule for each in seen.applied}
    assert "mul-one" in rules
    assert seen.text("simplified").startswith("// rules: ")


def test_line_numbers_change_no_instruction() -> None:
    """Debug locations are comments to the assembler: the links of the assembly stand on that."""
    seen = seen_training()
    stage = seen.stage("asm")
    code = [line for section in stage.sections for line in section.lines if line.text.startswith("\t") and not line.text.startswith("\t.")]
    kernels = [s for s in stage.sections if s.title.startswith("@train.k")]
    last = max(i for i, line in enumerate(code) if line.links)
    assert last > 0.8 * len(code)  # the alignment does not stop half way
    assert all(any(line.links for line in section.lines) for section in kernels)
    assert with_line_numbers(["define void @f() {", "entry:", "  ret void", "}"]).count("!dbg !") == 2


def test_an_unknown_level() -> None:
    with pytest.raises(ArgumentError, match="there is no level 'hir'"):
        seen_training().text("hir")
    with pytest.raises(ArgumentError, match="level 'loop' has no tensor graph"):
        seen_training().nodes_of("loop")


def test_the_summary_fits_on_one_screen() -> None:
    text = str(seen_training())
    assert len(text.splitlines()) <= 40
    assert text.startswith("train for x86-64-v")
    for word in ("nodes", "steps", "flops", "bytes", "arena", "compile", "codegen"):
        assert word in text


# --- What can be looked at ----------------------------------------------------------------------------------------------


def test_functions_transforms_and_jitted_functions_are_the_same() -> None:
    plain = inspect(value_and_grad(squares))(X)
    jitted = inspect(jit(value_and_grad(squares)))(X)
    assert digest(plain.simplified.graph) == digest(jitted.simplified.graph)
    assert [n.op for n in inspect(squares)(X).nodes_of("traced")] == ["mul", "reduce_sum"]


def test_a_gradient_alone_shows_the_whole_function_as_traced() -> None:
    seen = inspect(grad(squares))(X)
    assert [n.op for n in seen.nodes_of("traced") if n.op in ("mul", "reduce_sum")] == ["mul", "reduce_sum"]
    assert "reduce_sum" not in [n.op for n in seen.nodes]


def test_the_graph_is_what_runs() -> None:
    """The compiled program of a jitted function and the graph that is looked at share one digest."""
    function = jit(value_and_grad(squares))
    function(X)
    seen = inspect(function)(X)
    program = next(iter(function._cache.values()))[0].program
    assert digest(program.graph) == digest(seen.differentiated.graph)


def test_a_training_step_is_told_apart_and_not_run() -> None:
    train, parameters = programs.two_layers()
    before = {name: p.detach().numpy().copy() for name, p in parameters.items()}
    seen = inspect(train)(np.ones((32, 8), np.float32), np.zeros(32, np.int64))
    for name, parameter in parameters.items():
        assert parameter.grad is None
        np.testing.assert_array_equal(before[name], parameter.detach().numpy())
    assert len(seen.traced.graph.outputs) == 1
    assert {"dot_general", "gather"} <= {n.op for n in seen.nodes_of("traced")}
    assert "scatter_add" not in {n.op for n in seen.nodes_of("traced")}
    assert "scatter_add" in {n.op for n in seen.nodes_of("differentiated")}
    assert {"%x", "%labels", *(f"%{name}" for name in parameters)} == {seen.ids("traced")[v] for v in seen.traced.graph.inputs}


def test_a_step_with_elementary_functions() -> None:
    w = rustorch.ones(16, requires_grad=True)
    seen = inspect(programs.squares_step)(np.ones(16, np.float32), w)
    assert [n.op for n in seen.nodes_of("traced")] == ["mul", "exp", "add", "reduce_sum"]
    assert seen.cost.transcendental == 16


def test_modules_and_optimisers_give_names() -> None:
    model = rustorch.nn.Linear(4, 2)
    opt = rustorch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def train(x: Any) -> Any:
        opt.zero_grad()
        loss = model(x).sum()
        loss.backward()
        opt.step()
        return loss

    x = rustorch.ones(3, 4)
    train(x)  # makes the optimiser's state
    seen = inspect(train)(x)
    names = {seen.ids("traced")[v] for v in seen.traced.graph.inputs}
    assert {"%x", "%model_weight", "%model_bias", "%opt_0_momentum_buffer", "%opt_1_momentum_buffer"} <= names
    assert len(seen.traced.graph.outputs) == 1
    assert "%weight: f32[2, 4], %bias: f32[2]) -> f32[3, 2]" in inspect(model)(x).text("traced")


def test_symbolic_sizes() -> None:
    b = Builder()
    x = b.input(f32["n", 4], "x")
    seen = Inspection.of_graph(b.build([b.reduce_sum(b.exp(x), axes=(0, 1))], "total"))
    assert str(seen.cost.transcendental) == "4*n"
    assert '"transcendental": "4*n"' in seen.to_json()
    assert "over (n, 4)" in seen.text("fused")
    assert "<svg" in seen.to_html()


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(ArgumentError, match="inspect takes a function, not int"):
        inspect(3)  # type: ignore[arg-type]
