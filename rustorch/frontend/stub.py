"""The text of `generated.pyi`: the elementwise functions and methods, as the registry names them."""

from __future__ import annotations

from collections.abc import Iterator

from rustorch.frontend import elementwise, generated
from rustorch.ir.op import OpDef, Public

_MORE = {"add": ", *, alpha: float = 1", "sub": ", *, alpha: float = 1", "div": ", *, rounding_mode: str | None = None"}
"""Arguments that `functions.py` adds."""
HEAD = '''"""Made of the registry of ops by `stub.py`: `pytest --bless` writes it anew."""

from typing import Any

from rustorch.frontend.tensor import Tensor
'''


def stub_text() -> str:
    """The stub."""
    ops = list(elementwise.elementwise_ops())
    lines = [HEAD, "__all__ = [", *(f'    "{name}",' for name in generated.__all__), "]", ""]
    for op, public in ops:
        lines += list(_functions(op, public))
    lines += ["", "class Methods:"]
    for _, public in ops:
        lines += [f"    {line}" for line in _methods(public)]
    return "\n".join(lines) + "\n"


def _functions(op: OpDef, public: Public) -> Iterator[str]:
    arguments = ", ".join(f"{name}: Any" for name in public.arguments)
    for name in public.names:
        if name in elementwise.EXTENDED:
            continue
        yield f"def {name}({arguments}, *, out: Any = None) -> Tensor: ..."


def _methods(public: Public) -> Iterator[str]:
    rest = "".join(f", {name}: Any" for name in public.arguments[1:])
    more = _MORE.get(public.names[0], "")
    if public.method:
        for name in public.names:
            if name == "where":
                yield "def where(self, condition: Any, other: Any) -> Tensor: ..."
                continue
            yield f"def {name}(self{rest}{more}) -> Tensor: ..."
            if f"{name}_" in elementwise.methods:
                yield f"def {name}_(self{rest}{more}) -> Tensor: ..."
    if public.operator:
        for prefix in ("", "r", "i"):
            name = f"__{prefix}{public.operator}__"
            if name in elementwise.methods:
                ignored = "  # type: ignore[override]" if name in ("__eq__", "__ne__") else ""
                yield f"def {name}(self{', other: Any' if rest else ''}) -> Tensor: ...{ignored}"
