"""Random programs, line by line in both libraries: values, flags, errors, gradients of two orders; and the same under `jit`."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import rustorch
from tests.differential.harness import Failed, Ours, Run, compare
from tests.differential.programs import WRONG, Writer

pytestmark = pytest.mark.oracle

SEEDS = range(60)


@pytest.mark.parametrize("seed", SEEDS)
def test_programs(seed: int) -> None:
    compare(Writer(seed).program(14))


@pytest.mark.parametrize("seed", range(0, 60, 4))
def test_programs_under_jit(seed: int) -> None:
    """Without lines that look at elements, a program gives the same traced and compiled as recorded."""
    begins = {w.split("{}")[0] for w in WRONG} - {""}
    lines = [line for line in Writer(seed).program(14) if " = " in line or line.startswith(("with", "loss", "import")) or "_(" in line]
    lines = [line for line in lines if not line.startswith(tuple(begins)) and "() > 0]" not in line]
    run = Run(Ours)
    for line in lines:
        found = run.line(line)
        if isinstance(found, Failed):
            pytest.skip(f"{line}: {found}")

    def program() -> object:
        names = dict(Ours.names)
        for line in lines[: lines.index("loss.backward()")]:
            exec(line, names)
        return names["loss"], names["first"], names["second"]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loss, first, second = rustorch.jit(program)()
    for name, ours in (("loss", [loss]), ("first", first), ("second", second)):
        recorded = run.names[name] if name != "loss" else [run.names[name]]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pairs = [(a, b) for a, b in zip(ours, recorded, strict=True) if a is not None or b is not None]
            for a, b in pairs:
                np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-9, atol=1e-12, err_msg="\n".join(lines))
