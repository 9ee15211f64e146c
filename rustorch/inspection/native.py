"""The stages below the plan: loops, LLVM and assembly, with every line linked to the nodes that it computes.

Loop nodes keep the location of the tensor node that they are lowered from, and so its number. The LLVM text is emitted
again, line by line, to see which loop node makes which instruction. The assembler is then told, as debug locations, the line
of the LLVM text behind each instruction, and writes it next to the instruction that it becomes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from rustorch.codegen.assemble import assembly
from rustorch.codegen.emit_llvm import FunctionEmitter
from rustorch.codegen.expand import expand_math
from rustorch.codegen.generate import Generated
from rustorch.codegen.loops import Lowered
from rustorch.inspection.fused import Fusion
from rustorch.inspection.lines import Line, Section, Stage, graph_section, node_links
from rustorch.ir.graph import Node, Value

Links = tuple[int, ...]


def loop_stage(fusion: Fusion) -> Stage:
    """The loop graph of each kernel."""
    sections = []
    for lowered in fusion.lowered.values():
        section = graph_section(lowered.graph, _buffers(lowered, fusion.buffers), str(lowered.schedule))
        sections.append(section)
    return Stage("loop", tuple(sections))


def _buffers(lowered: Lowered, numbers: Mapping[Value, int]) -> dict[Value, int]:
    """Numbers of the kernel's inputs that stand for memory of the graph."""
    return {b: numbers[v] for b, v in zip(lowered.graph.inputs, lowered.memory, strict=False) if v in numbers}


# --- LLVM -------------------------------------------------------------------------------------------------------------


class _Linked(str):
    """An emitted line that knows the numbers behind it."""

    __slots__ = ("links",)
    links: Links


class _LinkingEmitter(FunctionEmitter):
    """Emits what `FunctionEmitter` emits, each line with the links of its loop node."""

    buffers: Mapping[Value, int] = {}

    def _nodes(self, nodes: tuple[Node, ...]) -> None:
        for node in nodes:
            start = len(self.lines)
            super()._nodes((node,))
            links = node_links(node, self.buffers)
            self.lines[start:] = [line if isinstance(line, _Linked) else _linked(line, links) for line in self.lines[start:]]


def _linked(text: str, links: Links) -> _Linked:
    line = _Linked(text)
    line.links = links
    return line


def llvm_stage(generated: Generated, links: Mapping[int, Links]) -> Stage:
    """The module's text: constants, kernels, driver, declarations."""
    sections: list[Section] = []
    lines: list[Line] = []
    title = "constants"

    def close() -> None:
        if any(line.text for line in lines):
            sections.append(Section(title, tuple(lines)))
        lines.clear()

    for number, text in enumerate(generated.llvm.splitlines()):
        if text.startswith("define"):
            close()
            title = _symbol(text)
        elif text.startswith("declare") and title != "declarations":
            close()
            title = "declarations"
        if text or title not in ("constants", "declarations"):
            lines.append(Line(text, links.get(number, ())))
    close()
    return Stage("llvm", tuple(s._replace(lines=_trimmed(s.lines)) for s in sections))


def _trimmed(lines: tuple[Line, ...]) -> tuple[Line, ...]:
    end = len(lines)
    while end and not lines[end - 1].text:
        end -= 1
    return lines[:end]


def _symbol(define: str) -> str:
    found = re.search(r"@([\w.$-]+)\(", define)
    return f"@{found[1]}" if found else "@"


def module_links(generated: Generated, fusion: Fusion) -> dict[int, Links]:
    """Links of the lines of the module's text, by line number (from 0)."""
    text = generated.llvm.splitlines()
    starts = {_symbol(line)[1:]: number for number, line in enumerate(text) if line.startswith("define")}
    found: dict[int, Links] = {}
    symbols: dict[str, str] = {}
    for lowered in fusion.lowered.values():
        emitted = _emitted(lowered, generated, fusion)
        key = "\n".join(emitted)
        symbol = symbols.setdefault(key, f"{generated.symbol}.{lowered.graph.name}")
        start = starts.get(symbol)
        if start is None or text[start + 1 : start + 1 + len(emitted)] != list(map(str, emitted)):
            continue  # emitted differently: this kernel has no links
        header = tuple(dict.fromkeys(number for line in emitted for number in getattr(line, "links", ())))
        found[start] = _joined(found.get(start, ()), header)
        for number, line in enumerate(emitted, start + 1):
            found[number] = _joined(found.get(number, ()), getattr(line, "links", ()))
    found.update(_call_links(generated, fusion, text))
    return found


def _emitted(lowered: Lowered, generated: Generated, fusion: Fusion) -> list[str]:
    graph = expand_math(lowered.graph, generated.target)
    emitter = _LinkingEmitter(graph, "", generated.target, {})
    emitter.buffers = {  # the expansion has inputs of its own, in the same order
        buffer: fusion.buffers[value]
        for buffer, value in zip(graph.inputs, lowered.memory, strict=False)
        if value in fusion.buffers
    }
    emitter.run()
    return ["entry:", *emitter.lines]


def _call_links(generated: Generated, fusion: Fusion, text: list[str]) -> dict[int, Links]:
    """Links of the driver's calls: those of the kernels and products that they run, in order."""
    start = next((n for n, line in enumerate(text) if line.startswith("define") and _symbol(line) == f"@{generated.symbol}"), len(text))
    calls = [n for n in range(start, len(text)) if text[n].startswith("  call void @")]
    steps = [kernel for kernel in fusion.kernels if kernel.kind in ("kernel", "fill", "scatter", "scan", "product", "convolution", "sort")]
    return {number: kernel.links for number, kernel in zip(calls, steps, strict=False)} if len(calls) == len(steps) else {}


def _joined(left: Links, right: Links) -> Links:
    return tuple(dict.fromkeys((*left, *right)))


# --- Assembly ---------------------------------------------------------------------------------------------------------


_LOCATION = re.compile(r"\s*\.loc\s+\d+\s+(\d+)")
_NOISE = re.compile(r"\s*\.(?:loc|file|cfi_\w+|addrsig\w*|ident)\b|\.L(?:tmp|func_begin|func_end|cfi)\w*:")


def asm_stage(generated: Generated, links: Mapping[int, Links]) -> Stage:
    """The assembly text of the module, linked through its LLVM text."""
    plain = generated.assembly().splitlines()
    located = assembly(with_line_numbers(generated.llvm.splitlines()), generated.target).splitlines()
    behind = _lines_behind(plain, located)
    return Stage("asm", tuple(_asm_sections([Line(text, links.get(n - 1, ())) for text, n in zip(plain, behind, strict=True)])))


def with_line_numbers(text: list[str]) -> str:
    """The module with debug locations: every instruction says on which line of the text it stands."""
    lines: list[str] = []
    records: list[str] = []
    scope = 0

    def record(content: str) -> int:
        records.append(f"!{len(records)} = {content}")
        return len(records) - 1

    file = record('!DIFile(filename: "module.ll", directory: "/")')
    unit = record(f'distinct !DICompileUnit(language: DW_LANG_C99, file: !{file}, emissionKind: LineTablesOnly)')
    kind = record("!DISubroutineType(types: !{})")
    flag = record('!{i32 2, !"Debug Info Version", i32 3}')
    inside = False
    for number, line in enumerate(text, 1):
        if line.startswith("define"):
            inside = True
            name = _symbol(line)[1:]
            scope = record(
                f'distinct !DISubprogram(name: "{name}", file: !{file}, line: {number}, type: !{kind}, unit: !{unit}, '
                "spFlags: DISPFlagDefinition)"
            )
            lines.append(line.replace(" {", f" !dbg !{scope} {{"))
        elif line == "}":
            inside = False
            lines.append(line)
        elif inside and line.startswith("  "):
            place = record(f"!DILocation(line: {number}, column: 1, scope: !{scope})")
            lines.append(f"{line}, !dbg !{place}")
        else:
            lines.append(line)
    head = [f"!llvm.dbg.cu = !{{!{unit}}}", f"!llvm.module.flags = !{{!{flag}}}"]
    return "\n".join([*lines, *head, *records, ""])


def _lines_behind(plain: list[str], located: list[str]) -> list[int]:
    """The line of LLVM text behind each line of plain assembly (0: none), from the assembly with debug locations.

    Debug locations change no instruction; should that ever be otherwise, lines are linked as far as both texts agree.
    """
    instructions: list[tuple[str, int]] = []
    current = 0
    for line in located:
        if line.startswith('\t.section\t.debug_'):
            break
        found = _LOCATION.match(line)
        if found:
            current = int(found[1])
        elif not _NOISE.match(line):
            if line.endswith(":") and not line.startswith(".L"):
                current = 0
            instructions.append((line, current))
    behind = [0] * len(plain)
    at = 0
    for number, line in enumerate(plain):
        if _NOISE.match(line) or at >= len(instructions):
            continue
        if instructions[at][0] != line:
            break
        is_instruction = line.startswith("\t") and not line.startswith("\t.")
        behind[number] = instructions[at][1] if is_instruction else 0
        at += 1
    return behind


def _asm_sections(lines: list[Line]) -> Iterable[Section]:
    """A section a function, and one for the constants before each."""
    title, start = "constants", 0
    for number, line in enumerate(lines):
        found = re.match(r"\s*\.type\s+([\w.$-]+),@function", line.text)
        closed = re.match(r"\s*\.section\s+\.rodata", line.text) and title.startswith("@")
        if found or closed:
            if start < number:
                yield Section(title, tuple(lines[start:number]))
            title, start = (f"@{found[1]}" if found else "constants"), number
    if start < len(lines):
        yield Section(title, tuple(lines[start:]))
