"""Export Rosenbrock's function, its gradient and its Hessian-vector product as a C library.

python export.py                                 writes rosenbrock/: librosenbrock.so, rosenbrock.o, rosenbrock.h
cc -O2 -Irosenbrock main.c rosenbrock/rosenbrock.o -lm -o main
./main 10                                        minimises it over 10 variables
"""

from __future__ import annotations

import rustorch
from rustorch import aot


def rosenbrock(x: rustorch.Tensor) -> rustorch.Tensor:
    """sum over i of 100 (x[i+1] - x[i]^2)^2 + (1 - x[i])^2; its minimum is 0 at (1, 1, …, 1)."""
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


exported = aot.export(
    rosenbrock,
    {"x": rustorch.f64["n"]},
    derivatives=["value", "value_and_grad", "hvp"],
    name="rosenbrock",
    isa="v2",
)
print(f"wrote {exported.save('rosenbrock')}: {len(exported.library)} bytes of library")
