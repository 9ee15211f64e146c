"""Text to graph: the inverse of `printer.to_text`.

The nodes are made exactly as written (no value numbering, no rules), so a test can say what it means; every type is inferred
again and compared with what is written.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from rustorch.errors import CompilerBug, ParseError, UserError
from rustorch.ir.dims import Size, parse_size
from rustorch.ir.dtypes import dtype_of
from rustorch.ir.graph import Attribute, Graph, Node, Payload, Value
from rustorch.ir.location import Location
from rustorch.ir.op import REGISTRY, OpDef, Trait
from rustorch.ir.types import BufferType, DType, TensorType, Type, VectorType, dtype_named, element

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
      | (?P<value>%\w+)
      | (?P<function>@(?:"(?:[^"\\]|\\.)*"|[A-Za-z_][\w.]*))
      | (?P<string>"(?:[^"\\\n]|\\.)*")
      | (?P<payload>payload<[0-9a-f]+>)
      | (?P<vector>vec<\d+x\w+>)
      | (?P<number>0x[0-9a-fA-F.]+p[+-]?\d+|\d+\.\d*(?:e[+-]?\d+)?|\d+e[+-]?\d+|\d+)
      | (?P<word>[A-Za-z_]\w*)
      | (?P<sign>->|[(){}\[\]<>,:=+*-])
    """,
    re.VERBOSE,
)
_SPELLED = {"true": True, "false": False, "none": None, "nan": float("nan"), "inf": float("inf")}
_ARRAY_TYPES = {"bool", "int32", "int64", "float32", "float64"}


def parse(text: str, payloads: Mapping[str, Payload] | None = None) -> Graph:
    """The graph that a text describes; `payloads` has the arrays that it mentions by digest.

    Raises `ParseError` with line, column and a caret.
    """
    parser = _Parser(text, payloads or {})
    graph = parser.function()
    if parser.token.kind != "end":
        parser.fail("the function has ended, but the text goes on")
    return graph


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int


@dataclass(frozen=True)
class _Literal:
    """A number or nested lists of numbers, to be read once the element type is known."""

    parts: str | tuple[_Literal, ...]
    token: _Token

    def read(self, dtype: DType) -> Any:
        """The number (lists become nested lists) as the element type holds it; `ValueError` where it is none."""
        if isinstance(self.parts, tuple):
            return [part.read(dtype) for part in self.parts]
        if dtype.kind == "bool":
            return {"true": True, "false": False}[self.parts]
        if dtype.kind == "int":
            return int(self.parts)
        if "0x" in self.parts:
            return float.fromhex(self.parts)
        return float(dtype.numpy.type(self.parts))


class _Parser:
    def __init__(self, text: str, payloads: Mapping[str, Payload]) -> None:
        self.text, self.payloads = text, payloads
        self.lines = [0, *(match.end() for match in re.finditer("\n", text))]
        self.tokens = list(self.tokenize())
        self.place = 0
        self.values: dict[str, Value] = {}
        self.literals: dict[tuple[str, Type], Value] = {}
        self.top: list[Node] = []

    # --- tokens -------------------------------------------------------------------------------------------------------

    def tokenize(self) -> list[_Token]:
        tokens, place = [], 0
        while place < len(self.text):
            match = _TOKEN.match(self.text, place)
            if match is None:
                self.fail(f"unexpected character {self.text[place]!r}", _Token("", "", place))
            if match.lastgroup != "space":
                tokens.append(_Token(str(match.lastgroup), match.group(), place))
            place = match.end()
        tokens.append(_Token("end", "end of text", len(self.text.rstrip())))
        return tokens

    @property
    def token(self) -> _Token:
        return self.tokens[self.place]

    def next(self) -> _Token:
        token = self.token
        self.place += token.kind != "end"
        return token

    def at(self, text: str) -> bool:
        return self.token.text == text and self.token.kind in ("sign", "word")

    def accept(self, text: str) -> bool:
        if self.at(text):
            self.place += 1
            return True
        return False

    def expect(self, text: str) -> _Token:
        if not self.at(text):
            self.fail(f"expected {text!r}, found {self.token.text!r}")
        return self.next()

    def expect_kind(self, kind: str, what: str) -> _Token:
        if self.token.kind != kind:
            self.fail(f"expected {what}, found {self.token.text!r}")
        return self.next()

    def fail(self, message: str, token: _Token | None = None, cause: Exception | None = None) -> NoReturn:
        place = self.location(token or self.token)
        line, column = place.line, place.column
        source = self.text.splitlines()[line - 1] if self.text else ""
        raise ParseError(f"line {line}, column {column}: {message}\n  {source}\n  {' ' * (column - 1)}^") from cause

    def location(self, token: _Token) -> Location:
        line = bisect_right(self.lines, token.start)
        return Location("<text>", line, token.start - self.lines[line - 1] + 1, "")

    # --- functions and nodes ------------------------------------------------------------------------------------------

    def function(self) -> Graph:
        self.expect("func")
        name = self.expect_kind("function", "a function's name such as @main").text[1:]
        name = json.loads(name) if name.startswith('"') else name
        inputs = self.parameters()
        self.expect("->")
        arrow = self.token
        types = self.type_list()
        self.expect("{")
        outputs = self.body(self.top, "return")
        if [v.type for v in outputs] != types:
            self.fail(f"{name} returns ({', '.join(str(v.type) for v in outputs)}), not ({', '.join(map(str, types))})", arrow)
        return Graph(name, inputs, tuple(self.top), outputs)

    def parameters(self) -> tuple[Value, ...]:
        self.expect("(")
        values: list[Value] = []
        while not self.accept(")"):
            if values:
                self.expect(",")
            token = self.expect_kind("value", "a value such as %x")
            self.expect(":")
            values.append(self.define(token, self.type()))
        return tuple(values)

    def body(self, nodes: list[Node], last: str) -> tuple[Value, ...]:
        """Statements up to the closing brace; gives the returned or yielded values."""
        while not self.at(last):
            if self.at("}") and last == "yield":
                self.next()
                return ()
            if self.token.kind not in ("value", "word"):
                self.fail(f"expected a node or {last!r}, found {self.token.text!r}")
            self.node(nodes)
        self.next()
        outputs: list[Value] = []
        while self.token.kind == "value":
            outputs.append(self.use())
            if not self.accept(","):
                break
        self.expect("}")
        return tuple(outputs)

    def node(self, nodes: list[Node]) -> None:
        names: list[_Token] = []
        while self.token.kind == "value":
            names.append(self.next())
            if not self.accept(","):
                self.expect("=")
                break
        word = self.expect_kind("word", "an op's name")
        if word.text not in REGISTRY:
            self.fail(f"no op named {word.text!r}", word)
        op = REGISTRY[word.text]
        operands = self.operands()
        attrs = self.attributes()
        regions = []
        while self.at("("):
            regions.append(self.isolated() if op.has(Trait.ISOLATED) else self.region())
        types: list[Type] = []
        if names:
            self.expect(":")
            types = self.type_list()
        if len(types) != len(names):
            self.fail(f"{len(names)} names for {len(types)} results", word)
        if op.name == "const":
            attrs, operands = {"value": self.constant(operands, types, word), "type": types[0]}, []
        elif "type" in op.attributes and types:
            attrs.setdefault("type", types[0])
        values = tuple(self.literal(v, types) if isinstance(v, _Literal) else v for v in operands if not isinstance(v, Payload))
        self.check(op, values, attrs, tuple(regions), types, word)
        results = tuple(self.define(token, type_) for token, type_ in zip(names, types, strict=True))
        nodes.append(Node(op, values, attrs, results, tuple(regions), self.location(word)))

    def isolated(self) -> Graph:
        """A region that reads nothing from around it: its literals are its own."""
        top, literals = self.top, self.literals
        self.top, self.literals = [], {}
        region = self.region()
        nodes = (*self.top, *region.nodes)
        self.top, self.literals = top, literals
        return Graph(region.name, region.inputs, nodes, region.outputs)

    def region(self) -> Graph:
        outside = dict(self.values)
        inputs = self.parameters()
        self.expect("{")
        nodes: list[Node] = []
        outputs = self.body(nodes, "yield")
        self.values = outside
        return Graph("main", inputs, tuple(nodes), outputs)

    def check(
        self, op: OpDef, operands: tuple[Value, ...], attrs: Mapping[str, Attribute], regions: tuple[Graph, ...], types: Sequence[Type],
        word: _Token,
    ) -> None:
        if op.operands is not None and op.operands != len(operands):
            self.fail(f"{op.name} takes {op.operands} operands, not {len(operands)}", word)
        try:
            inferred = op.infer(*[v.type for v in operands], **attrs, **({"regions": regions} if regions else {}))
        except (UserError, CompilerBug, TypeError) as error:
            self.fail(str(error), word, error)
        found = inferred if isinstance(inferred, tuple) else (inferred,)
        if found != tuple(types):
            self.fail(f"{op.name} gives {', '.join(map(str, found))}, not {', '.join(map(str, types)) or 'nothing'}", word)

    # --- operands -----------------------------------------------------------------------------------------------------

    def operands(self) -> list[Value | _Literal | Payload]:
        found: list[Value | _Literal | Payload] = []
        while True:
            if self.token.kind == "value":
                found.append(self.use())
            elif self.token.kind == "payload":
                found.append(self.payload())
            elif self.token.kind == "number" or self.token.text in ("-", "[", "true", "false", "nan", "inf"):
                found.append(self.number())
            elif found:
                self.fail(f"expected an operand, found {self.token.text!r}")
            else:
                return found
            if not self.accept(","):
                return found

    def number(self) -> _Literal:
        token = self.next()
        if token.text == "[":
            parts: list[_Literal] = []
            while not self.accept("]"):
                if parts:
                    self.expect(",")
                parts.append(self.number())
            return _Literal(tuple(parts), token)
        minus = token.text == "-"
        digits = self.next() if minus else token
        if digits.kind != "number" and digits.text not in _SPELLED:
            self.fail(f"expected a number, found {digits.text!r}", digits)
        return _Literal(("-" if minus else "") + digits.text, token)

    def payload(self) -> Payload:
        token = self.next()
        digest = token.text[8:-1]
        if digest not in self.payloads:
            self.fail(f"the array {digest} is not among the payloads", token)
        return self.payloads[digest]

    def literal(self, literal: _Literal, types: list[Type]) -> Value:
        """A bare literal: a constant of the result's type, made once for the whole function."""
        if len(types) != 1 or isinstance(literal.parts, tuple):
            self.fail("a literal operand takes the type of the only result; write a const line instead", literal.token)
        number = self.read(literal, types[0])
        key = (repr(number), types[0])
        value = self.literals.get(key)
        if value is None:
            value = self.literals[key] = Value(types[0])
            self.top.append(Node(REGISTRY["const"], (), {"value": number, "type": types[0]}, (value,), (), self.location(literal.token)))
        return value

    def constant(self, operands: Sequence[Value | _Literal | Payload], types: list[Type], word: _Token) -> Any:
        written = operands[0] if len(operands) == 1 and len(types) == 1 else None
        if isinstance(written, Payload):
            return written
        if not isinstance(written, _Literal):
            self.fail("const takes one number or array, and gives one result", word)
        number = self.read(written, types[0])
        return self.array(number, types[0], written) if isinstance(number, list) else number

    def array(self, numbers: Any, type_: Type, literal: _Literal) -> Payload:
        shape = type_.shape if isinstance(type_, (TensorType, BufferType)) else None
        array = np.array(numbers, element(type_).numpy)
        if shape is not None and 0 in shape and array.size == 0:
            array = array.reshape([int(str(size)) for size in shape])
        if array.shape != shape:
            self.fail(f"the array's shape is {list(array.shape)}, not that of {type_}", literal.token)
        return Payload(array)

    def read(self, literal: _Literal, type_: Type) -> Any:
        try:
            return literal.read(element(type_))
        except (ValueError, KeyError) as error:
            self.fail(f"not a number of type {element(type_)}", literal.token, error)

    # --- attributes and types -----------------------------------------------------------------------------------------

    def attributes(self) -> dict[str, Attribute]:
        found: dict[str, Attribute] = {}
        if not self.accept("{"):
            return found
        while not self.accept("}"):
            if found:
                self.expect(",")
            name = self.expect_kind("word", "an attribute's name").text
            self.expect("=")
            found[name] = self.attribute()
        return found

    def attribute(self) -> Attribute:
        token = self.token
        if token.kind == "string":
            return json.loads(self.next().text)
        if token.kind == "payload":
            payload = self.payload()
            self.expect(":")
            self.next()
            return payload
        if self.accept("["):
            parts: list[Attribute] = []
            while not self.accept("]"):
                if parts:
                    self.expect(",")
                parts.append(self.attribute())
            if self.accept(":"):
                return self.typed_array(parts)
            return tuple(parts)
        if token.text in _SPELLED:
            return _SPELLED[self.next().text]
        if token.kind == "vector" or token.text == "buf" or dtype_named(token.text) is not None:
            return self.type()
        if token.text == "-" and self.tokens[self.place + 1].text == "inf":
            self.place += 2
            return -float("inf")
        return self.expression()

    def typed_array(self, parts: list[Attribute]) -> Payload:
        word = self.expect_kind("word", "an array's element type")
        if word.text not in _ARRAY_TYPES:
            self.fail(f"no array type {word.text!r}", word)
        return Payload(np.array(parts, word.text))

    def expression(self) -> Attribute:
        """A number or a size, up to the comma or bracket that ends it."""
        first, depth = self.token, 0
        while self.token.kind in ("number", "word", "sign"):
            text = self.token.text
            if depth == 0 and text in (",", "]", "}", ")", ":", "="):
                break
            depth += (text == "(") - (text == ")")
            self.next()
        written = self.text[first.start : self.tokens[self.place - 1].start + len(self.tokens[self.place - 1].text)]
        try:
            if re.fullmatch(r"-?(0x[0-9a-fA-F.]+p.*|\d+\.\d*(e[+-]?\d+)?|\d+e[+-]?\d+)", written):
                return float.fromhex(written) if "0x" in written else float(written)
            return parse_size(written)
        except UserError as error:
            self.fail(str(error), first, error)

    def type_list(self) -> list[Type]:
        if not self.accept("("):
            return [self.type()]
        types: list[Type] = []
        while not self.accept(")"):
            if types:
                self.expect(",")
            types.append(self.type())
        return types

    def type(self) -> Type:
        token = self.next()
        try:
            if token.kind == "vector":
                lanes, short = token.text[4:-1].split("x", 1)
                return VectorType(dtype_of(short), int(lanes))
            if token.text == "buf" and self.accept("<"):
                dtype = dtype_of(self.expect_kind("word", "an element type").text)
                shape = self.shape()
                self.expect(">")
                return BufferType(dtype, shape)
            if token.kind != "word":
                self.fail(f"expected a type, found {token.text!r}", token)
            dtype = dtype_of(token.text)
        except ParseError:
            raise
        except UserError as error:
            self.fail(str(error), token, error)
        return TensorType(dtype, self.shape()) if self.at("[") else dtype

    def shape(self) -> tuple[Size, ...]:
        self.expect("[")
        sizes: list[Size] = []
        while not self.accept("]"):
            if sizes:
                self.expect(",")
            token = self.token
            size = self.expression()
            if isinstance(size, float):
                self.fail("a size is an integer", token)
            sizes.append(size)
        return tuple(sizes)

    # --- values -------------------------------------------------------------------------------------------------------

    def define(self, token: _Token, type_: Type) -> Value:
        name = token.text[1:]
        if name in self.values:
            self.fail(f"{token.text} is defined twice", token)
        value = self.values[name] = Value(type_, "" if name.isdigit() else name)
        return value

    def use(self) -> Value:
        token = self.next()
        value = self.values.get(token.text[1:])
        if value is None:
            self.fail(f"{token.text} is not defined before this use", token)
        return value
