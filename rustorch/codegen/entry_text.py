"""LLVM text of an entry while it is written: instructions by number, and what its `self` must hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rustorch.artifact import Layout

ATTRIBUTES = 'nounwind "no-builtins"'


class Text:
    """The body of one function. `let` names values by number; `need` and `label` start blocks, of which `block` is the last."""

    def __init__(self) -> None:
        self.lines = ["entry:"]
        self.stack: list[str] = []
        self.block = "entry"
        self.count = 0

    def put(self, line: str) -> None:
        self.lines.append(f"  {line}")

    def let(self, expression: str) -> str:
        """The name of a new value."""
        self.count += 1
        self.put(f"%v{self.count} = {expression}")
        return f"%v{self.count}"

    def label(self, name: str) -> None:
        self.lines.append(f"{name}:")
        self.block = name

    def need(self, condition: str, otherwise: str) -> None:
        """Go on only if `condition` holds."""
        self.count += 1
        self.put(f"br i1 {condition}, label %b{self.count}, label %{otherwise}")
        self.label(f"b{self.count}")

    def at(self, base: str, offset: int) -> str:
        """An address, in bytes behind another."""
        return self.let(f"getelementptr i8, ptr {base}, i64 {offset}") if offset else base

    def load(self, kind: str, base: str, offset: int = 0) -> str:
        return self.let(f"load {kind}, ptr {self.at(base, offset)}")

    def store(self, kind: str, value: str, base: str, offset: int = 0) -> None:
        self.put(f"store {kind} {value}, ptr {self.at(base, offset)}")

    def same(self, left: str, right: str) -> str:
        """Whether two pointers are equal."""
        return self.let(f"icmp eq ptr {left}, {right}")

    def there(self, pointer: str) -> str:
        """Whether a pointer is not null."""
        return self.let(f"icmp ne ptr {pointer}, null")

    def both(self, conditions: list[str]) -> str:
        """The conjunction."""
        total = conditions[0]
        for condition in conditions[1:]:
            total = self.let(f"and i1 {total}, {condition}")
        return total

    def round_up(self, address: str) -> str:
        """The next address that is a multiple of 64."""
        beyond = self.let(f"add i64 {self.let(f'ptrtoint ptr {address} to i64')}, 63")
        return self.let(f"inttoptr i64 {self.let(f'and i64 {beyond}, -64')} to ptr")

    def alloca(self, kind: str, alignment: int = 8) -> str:
        """Memory on the stack, taken once at the start of the function."""
        self.stack.append(f"  %s{len(self.stack)} = alloca {kind}, align {alignment}")
        return f"%s{len(self.stack) - 1}"

    def function(self, head: str) -> str:
        """The whole function."""
        return "\n".join([f"define {head} {ATTRIBUTES} {{", self.lines[0], *self.stack, *self.lines[1:], "}\n"])


class Module:
    """Functions that share one `self`: a tuple of the array of addresses, whose content is `table`, and of Python objects."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.text = Text()
        self.objects: dict[str, int] = {}
        self.addresses: dict[str, int] = {}
        self.functions: dict[str, str] = {}
        self._shapes: dict[tuple[int, ...], str] = {}

    def object(self, name: str) -> str:
        """A Python object from `self`."""
        place = self.objects.setdefault(name, len(self.objects))
        return self.text.load("ptr", "%self", self.layout.tuple_items + 8 * (place + 1))

    def word(self, name: str, kind: str = "ptr") -> str:
        """An address, or another word, from the table."""
        place = self.addresses.setdefault(name, len(self.addresses))
        return self.text.load(kind, "%table", 8 * place)

    def call(self, result: str, name: str, *arguments: str) -> str:
        """Call an API function."""
        function = self.word(name)
        return self._call(f"call {result} {function}({', '.join(arguments)})")

    def part(self, result: str, name: str, *arguments: str) -> str:
        """Call a function of this module."""
        return self._call(f"call {result} @{name}({', '.join(['ptr %self', 'ptr %table', *arguments])})")

    def _call(self, call: str) -> str:
        if not call.startswith("call void"):
            return self.text.let(call)
        self.text.put(call)
        return ""

    @contextmanager
    def define(self, result: str, name: str, *parameters: str) -> Iterator[Text]:
        """Write a function of this module; its text is the current one meanwhile."""
        outer, self.text = self.text, Text()
        self.functions[name] = ""  # the name is taken while the function is written
        yield self.text
        head = f"internal {result} @{name}({', '.join(['ptr %self', 'ptr %table', *parameters])})"
        self.functions[name] = self.text.function(head)
        self.text = outer

    def constant(self, shape: tuple[int, ...]) -> str:
        """The address of a shape."""
        return self._shapes.setdefault(shape, f"@shape{len(self._shapes)}") if shape else "null"

    def print(self) -> str:
        """Constants and functions, except for the current text."""
        constants = [
            f"{name} = private constant [{len(shape)} x i64] [{', '.join(f'i64 {size}' for size in shape)}]\n"
            for shape, name in self._shapes.items()
        ]
        return "".join([*constants, *self.functions.values()])
