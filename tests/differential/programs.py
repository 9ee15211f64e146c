"""Random programs, as lines of text: tensors are made, computed with, viewed, written in place, and differentiated.

Every program is a function of its seed. Shapes are followed while a program is written, so that most lines succeed; about one in
twenty is wrong on purpose, and must fail alike in both libraries.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

Shape = tuple[int, ...]

UNARY = (
    "{}.exp()", "{}.tanh()", "{}.sigmoid()", "-{}", "{}.abs()", "{}.relu()", "{}.sin()", "{} * 0.5", "1.5 - {}", "{} ** 2", "{}.square()",
    "({} * {} + 1).log()", "({} ** 2 + 0.5).sqrt()", "1 / ({} ** 2 + 1)", "{}.clamp(-0.5, 0.75)", "F.softplus({})", "F.gelu({})",
    "F.silu({})", "{}.clone()", "{}.double().float().double()", "torch.where({} > 0.1, {}, {} * 3)", "{}.expm1()", "{}.erf()",
    "{}.floor() + {}",
)  # fmt: skip
BINARY = (
    "{} + {}", "{} - {}", "{} * {}", "{} / ({} ** 2 + 1)", "torch.maximum({}, {})", "torch.minimum({}, {} * 0.9)", "({} > {}).double()",
    "torch.add({}, {}, alpha=2)", "torch.atan2({}, {} ** 2 + 1)", "torch.lerp({}, {}, 0.25)", "({} ** 2 + 0.5) ** {}.tanh()",
)  # fmt: skip
WRITES = (
    "{}.mul_(2)", "{}.add_(1.5)", "{}.neg_()", "{}.exp_()", "{}.clamp_(max=0.5)", "{}.zero_()", "{}.fill_(0.25)", "{}.tanh_()",
    "{}.sub_({}.detach())",
)  # fmt: skip
WRONG = (
    "torch.ones(2, 3) @ torch.ones(2, 3)", "{}.reshape(7, 11)", "{}.sum(9)", "{} + torch.ones(5, 7, 5, 7)",
    "{}.numpy() if {}.requires_grad else int('x')", "torch.cat([{}, torch.ones(3, 3, 3, 3, 3)])", "(v0 * 2).backward(torch.ones(99))",
    "{}.transpose(0, 7)", "torch.ones(3)[999]", "{}.expand(7, 7, 7, 7, 3, 11)", "torch.tensor([1], requires_grad=True)",
    "{}.detach().sum().backward()", "torch.tensor([1, 2]).add_({}.sum())",
)  # fmt: skip


@dataclass
class Variable:
    """A name of the program, its shape, and whether it may be written: it is no leaf, and nothing that reads it saved it."""

    name: str
    shape: Shape
    fresh: bool = False


class Writer:
    """Writes one program."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.lines = ["import numpy"]
        self.variables: list[Variable] = []
        self.leaves: list[str] = []

    def program(self, length: int) -> list[str]:
        """The lines."""
        for k in range(self.random.randint(2, 3)):
            self.leaf(k)
        steps = (
            self.unary, self.unary, self.binary, self.binary, self.reduction, self.view, self.view, self.write, self.assign, self.matmul,
            self.join, self.detached, self.index,
        )  # fmt: skip
        for _ in range(length):
            self.random.choice(steps)()
            if self.random.random() < 0.05:
                x = self.pick()
                self.lines.append(self.random.choice(WRONG).replace("{}", x.name))
        self.end()
        return self.lines

    def leaf(self, k: int) -> None:
        shape = self.random.choice(((3,), (2, 3), (2, 3), (3, 3), (1, 3), (), (2, 1)))
        wanted = k == 0 or self.random.random() < 0.7
        made = f"numpy.random.default_rng({self.random.randrange(10**6)}).normal(size={shape})"
        self.lines.append(f"v{k} = torch.tensor({made}, dtype=torch.float64, requires_grad={wanted})")
        self.variables.append(Variable(f"v{k}", shape))
        if wanted:
            self.leaves.append(f"v{k}")

    def pick(self, *shapes: Shape, rank: int | None = None) -> Variable:
        """A variable, rather a late one; of one of these shapes, or of a rank, if there is one."""
        fitting = [v for v in self.variables if (not shapes or v.shape in shapes) and (rank is None or len(v.shape) == rank)]
        return self.random.choice((fitting or self.variables)[-6:])

    def new(self, text: str, shape: Shape, fresh: bool = False) -> None:
        name = f"v{len(self.variables)}"
        self.lines.append(f"{name} = {text}")
        self.variables.append(Variable(name, shape, fresh))

    def unary(self) -> None:
        x = self.pick()
        text = self.random.choice(UNARY).replace("{}", x.name)
        self.new(text, x.shape, True)

    def binary(self) -> None:
        x = self.pick()
        y = self.pick(x.shape, (), (3,))
        shape = broadcast(x.shape, y.shape)
        if shape is not None:
            self.new(self.random.choice(BINARY).format(x.name, y.name), shape, True)

    def reduction(self) -> None:
        x = self.pick()
        if not x.shape or self.random.random() < 0.3:
            self.new(f"{x.name}.{self.random.choice(('sum', 'mean', 'max', 'prod', 'norm', 'std' if sum(x.shape) > 2 else 'sum'))}()", ())
            return
        axis = self.random.randrange(len(x.shape))
        rest = x.shape[:axis] + x.shape[axis + 1 :]
        name = self.random.choice(("sum", "mean", "amax", "amin", "prod", "logsumexp", "cumsum", "softmax"))
        self.new(f"{x.name}.{name}({axis})", x.shape if name in ("cumsum", "softmax") else rest, name != "softmax")

    def view(self) -> None:
        x = self.pick()
        if not x.shape:
            self.new(f"{x.name}.reshape(1)", (1,), x.fresh)
            return
        kind = self.random.randrange(6)
        axis = self.random.randrange(len(x.shape))
        size = x.shape[axis]
        if kind == 0:
            self.new(f"{x.name}.reshape(-1)", (product(x.shape),), x.fresh)
        elif kind == 1:
            self.new(f"{x.name}.transpose(0, {axis})", swapped(x.shape, axis), x.fresh)
        elif kind == 2:
            self.new(f"{x.name}.unsqueeze({axis})", (*x.shape[:axis], 1, *x.shape[axis:]), x.fresh)
        elif kind == 3:
            self.new(f"{x.name}.expand(2, {', '.join(map(str, x.shape))})", (2, *x.shape))
        elif kind == 4 and size > 1:
            self.new(f"{x.name}.narrow({axis}, 1, {size - 1})", (*x.shape[:axis], size - 1, *x.shape[axis + 1 :]), x.fresh)
        else:
            self.new(f"{x.name}.select({axis}, {self.random.randrange(size)})", x.shape[:axis] + x.shape[axis + 1 :], x.fresh)

    def index(self) -> None:
        x = self.pick()
        if not x.shape:
            return
        places = [self.random.randrange(-x.shape[0], x.shape[0]) for _ in range(self.random.randint(1, 4))]
        self.new(f"{x.name}[{places}]", (len(places), *x.shape[1:]), True)

    def matmul(self) -> None:
        x = self.pick(rank=2)
        if len(x.shape) != 2:
            return
        y = self.pick((x.shape[1], 3), (x.shape[1],), (x.shape[1], 1))
        if y.shape and y.shape[0] == x.shape[1] and len(y.shape) < 3:
            self.new(f"{x.name} @ {y.name}", (x.shape[0], *y.shape[1:]), True)

    def join(self) -> None:
        x = self.pick()
        if x.shape:
            y = self.pick(x.shape)
            if y.shape == x.shape:
                word = self.random.choice(("cat", "stack"))
                self.new(f"torch.{word}([{x.name}, {y.name}])", (2 * x.shape[0], *x.shape[1:]) if word == "cat" else (2, *x.shape), True)

    def detached(self) -> None:
        x = self.pick()
        self.new(self.random.choice((f"{x.name}.detach() * 2", f"({x.name} > 0).double()", f"{x.name}.detach().clone()")), x.shape, True)

    def write(self) -> None:
        """Write to a copy of its own, now and then to a view of it: nothing else has saved what it held."""
        x = self.pick()
        self.new(f"{x.name} * 1", x.shape)
        y = self.variables[-1]
        target = y.name
        if y.shape and self.random.random() < 0.5:
            target = f"{y.name}[{self.random.randrange(y.shape[0])}]" if self.random.random() < 0.5 else f"{y.name}.reshape(-1)"
        self.lines.append(self.random.choice(WRITES).replace("{}", target))
        if self.random.random() < 0.3:
            self.lines.append(f"with torch.no_grad(): {y.name}.mul_(1.25)")

    def assign(self) -> None:
        x = self.pick()
        if not x.shape:
            return
        self.new(f"{x.name} * 1", x.shape)
        y = self.variables[-1]
        row = self.random.randrange(x.shape[0])
        where = self.random.choice((f"[{row}]", f"[{row}:]", f"[[{row}]]", f"[{y.name}.detach() > 0]"))
        value = self.random.choice(("0.5", f"{x.name}.sum() * 0.1", f"{self.leaves[0]}.sum()"))
        self.lines.append(f"{y.name}{where} = {value}")

    def end(self) -> None:
        """Two orders of derivatives of the sum of everything, and a pass to the leaves."""
        names = ", ".join(self.leaves)
        terms = " + ".join(f"({v.name} * 0.1).sin().mean()" for v in self.variables[-5:]) + f" + {self.leaves[0]}.sum() * 0"
        self.lines += [
            f"loss = {terms}",
            f"_first = torch.autograd.grad(loss, [{names}], create_graph=True, allow_unused=True)",
            "first = [g if g is None else g.detach() for g in _first]",
            f"again = sum((g * g).sum() for g in _first if g is not None) + sum(x.sum() for x in [{names}]) * 0",
            f"second = torch.autograd.grad(again, [{names}], retain_graph=True, allow_unused=True)",
            "loss.backward()",
            f"grads = [x.grad for x in [{names}]]",
        ]


def broadcast(a: Shape, b: Shape) -> Shape | None:
    """The shape that two broadcast to."""
    length = max(len(a), len(b))
    found = []
    for s, t in zip((1,) * (length - len(a)) + a, (1,) * (length - len(b)) + b, strict=True):
        if s != t and 1 not in (s, t):
            return None
        found.append(max(s, t))
    return tuple(found)


def product(shape: Shape) -> int:
    """The number of elements."""
    count = 1
    for size in shape:
        count *= size
    return count


def swapped(shape: Shape, axis: int) -> Shape:
    """The shape with its first dimension and another one exchanged."""
    sizes = list(shape)
    sizes[0], sizes[axis] = sizes[axis], sizes[0]
    return tuple(sizes)
