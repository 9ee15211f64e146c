"""Text of a stage, line by line, each line with the numbers of the nodes that it is about."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from rustorch.inspection.origins import number_of
from rustorch.ir.graph import Graph, Node, Value
from rustorch.ir.printer import bare_constants, to_text

_NAME = re.compile(r"%\w+")


class Line(NamedTuple):
    """A line of a stage's text."""

    text: str
    links: tuple[int, ...] = ()
    """Numbers of the nodes that the line is about."""
    names: tuple[tuple[str, int], ...] = ()
    """Names that the line defines, with the numbers of what they stand for."""


class Section(NamedTuple):
    """A function or another part of a stage that stands by itself."""

    title: str
    lines: tuple[Line, ...]

    @property
    def text(self) -> str:
        """The lines as one text."""
        return "".join(f"{line.text}\n" for line in self.lines)


class Stage(NamedTuple):
    """One stage of the compiler: its name and its text in sections."""

    name: str
    sections: tuple[Section, ...]

    @property
    def text(self) -> str:
        """The whole text."""
        return "\n".join(section.text for section in self.sections)


def graph_section(graph: Graph, buffers: Mapping[Value, int] | None = None, note: str = "") -> Section:
    """The text of a marked graph with a link on every line, below a comment `note`.

    `buffers` numbers the inputs, and what is loaded from or stored to.
    """
    buffers = buffers or {}
    text = to_text(graph, locations=True)
    lines: list[Line] = [Line(f"// {note}")] if note else []
    for line, node in zip(text.splitlines(), printed_nodes(graph), strict=True):
        if node is None:
            lines.append(Line(line))
        elif isinstance(node, Graph):
            found = _NAME.findall(line)
            named = tuple((name, buffers[v]) for name, v in zip(found, node.inputs, strict=False) if v in buffers)
            lines.append(Line(line, tuple(dict.fromkeys(number for _, number in named)), named))
        else:
            links = node_links(node, buffers)
            names = _NAME.findall(line.split(" = ")[0]) if node.results else []
            lines.append(Line(line, links, tuple((name, links[0]) for name in names if links)))
    return Section(f"@{graph.name}", tuple(lines))


def node_links(node: Node, buffers: Mapping[Value, int]) -> tuple[int, ...]:
    """The number of a node, behind that of the buffer that it loads from or stores to."""
    found = [buffers[v] for v in node.operands if v in buffers and "load" in node.op.name]
    found += [] if (number := number_of(node)) is None else [number]
    found += [buffers[v] for v in node.operands if v in buffers and "store" in node.op.name]
    return tuple(dict.fromkeys(found))


def printed_nodes(graph: Graph) -> Iterator[Node | Graph | None]:
    """What each line of `to_text(graph)` prints: the graph for its first line, a node, or None for a line of punctuation."""
    bare = bare_constants(graph)

    def body(region: Graph, last: str) -> Iterator[Node | Graph | None]:
        for node in region.nodes:
            if node.results and node.results[0] in bare:
                continue
            yield node
            for number, inner in enumerate(node.regions):
                if number:
                    yield None  # } (inputs of the next region) {
                yield from body(inner, "yield")
            if node.regions:
                yield None  # }
        if region.outputs or last == "return":
            yield None

    yield graph
    yield from body(graph, "return")
    yield None


def value_names(graph: Graph) -> dict[Value, str]:
    """The name of each value of a tensor graph in its text; a constant written at its uses is named by its number."""
    names: dict[Value, str] = {}
    for line, node in zip(to_text(graph).splitlines(), printed_nodes(graph), strict=True):
        if isinstance(node, Graph):
            names.update(zip(node.inputs, _NAME.findall(line), strict=False))
        elif node is not None:
            names.update(zip(node.results, _NAME.findall(line), strict=False))
    for value, node in bare_constants(graph).items():
        names[value] = str(node.attrs["value"])
    return names
