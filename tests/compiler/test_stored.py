"""Compiled code on disk: what the next process finds, what it does with what is broken, what the command line says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rustorch.cli.main import main
from rustorch.compiler import stored
from rustorch.config import config
from rustorch.runtime.cache import sealed, unsealed

PROGRAM = """
import json, sys
import numpy as np
import rustorch
from rustorch import nn, optim
from rustorch.compiler import statistics

rustorch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
optimiser = optim.Adam(model.parameters(), lr=0.01)
x = rustorch.tensor(np.linspace(-1, 1, 64, dtype=np.float32).reshape(8, 8))

def step(x):
    optimiser.zero_grad()
    loss = (model(x) ** 2).mean()
    loss.backward()
    optimiser.step()
    return loss

run = rustorch.jit(step) if "jit" in sys.argv else step
losses = [float(run(x)) for _ in range(5)]
big = rustorch.jit(lambda x: rustorch.exp(x).sum())(np.ones(1 << 20, np.float32)).item()
sized = rustorch.jit(lambda x: x * 2.0)
sized(np.ones(3, np.float32)); sized(np.ones(4, np.float32)); sized(np.ones(5, np.float32))
print(json.dumps({
    "losses": losses, "big": big, "compiles": statistics.compiles, "stored": statistics.stored,
    "llvm": "llvmlite" in sys.modules, "pipeline": "rustorch.compiler.pipeline" in sys.modules,
}))
"""


def process(folder: Path, door: str = "jit", **environment: str) -> dict[str, Any]:
    """What the program says in a process of its own with a cache in `folder`."""
    given = os.environ | {"RUSTORCH_CACHE": "1", "RUSTORCH_CACHE_DIR": str(folder), "RUSTORCH_SIGHT": "2", "RUSTORCH_VERIFY": "0"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, door], env=given | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def warmed(folder: Path, door: str = "jit") -> dict[str, Any]:
    """What the first of two processes says: the second compiles what the first ran node by node, since it is seen again."""
    first = process(folder, door)
    process(folder, door)
    return first


@pytest.mark.parametrize("door", ["jit", "recorded"])
def test_a_warm_start_runs_no_pass_and_imports_no_llvm(tmp_path: Path, door: str) -> None:
    cold = warmed(tmp_path, door)
    warm = process(tmp_path, door)
    assert cold["compiles"] > 0 and cold["llvm"]
    assert (warm["compiles"], warm["llvm"], warm["pipeline"]) == (0, False, False)
    assert warm["stored"] >= cold["compiles"]
    assert warm["losses"] == cold["losses"] and warm["big"] == cold["big"]


def test_both_doors_share_what_is_on_disk(tmp_path: Path) -> None:
    recorded = warmed(tmp_path, "recorded")
    assert recorded["compiles"] > 0
    assert process(tmp_path, "jit")["losses"] == pytest.approx(recorded["losses"], rel=1e-5)
    assert process(tmp_path, "recorded")["compiles"] == 0


def test_broken_files_are_made_anew(tmp_path: Path) -> None:
    """Cut short, overwritten, replaced by another's, emptied: all of them at once."""
    cold = warmed(tmp_path)
    paths = sorted(tmp_path.rglob("*.so"))
    assert len(paths) >= 4
    for k, path in enumerate(paths):
        content = path.read_bytes()
        changed = bytearray(content)
        changed[len(content) // 2] ^= 0xFF
        path.unlink()
        path.write_bytes([content[: len(content) // 2], bytes(changed), b"", b"\x7fELF"][k % 4])
    again = warmed(tmp_path)
    assert again["losses"] == cold["losses"] and again["compiles"] > 0
    assert process(tmp_path)["compiles"] == 0


def test_whole_files_that_are_no_libraries_are_made_anew(tmp_path: Path) -> None:
    """Digests that fit, and content that does not: as a later version of the library might write."""
    cold = warmed(tmp_path)
    for k, path in enumerate(sorted(tmp_path.rglob("*.so"))):
        facts = unsealed(path.read_bytes())
        assert facts is not None
        path.write_bytes(sealed(facts, b"no library") if k % 2 else sealed({"unknown": 1}, path.read_bytes()))
    again = warmed(tmp_path)
    assert again["losses"] == cold["losses"] and again["compiles"] > 0


@pytest.mark.parametrize("switch", [{"RUSTORCH_CACHE": "0"}, {"RUSTORCH_CACHE_DIR": ""}, {"RUSTORCH_CACHE_DIR": "/proc/none/there"}])
def test_without_a_cache_everything_works(tmp_path: Path, switch: dict[str, str]) -> None:
    for _ in range(2):
        found = process(tmp_path, "jit", **switch)
        assert found["compiles"] > 0 and found["stored"] == 0
    assert list(tmp_path.iterdir()) == []


def test_levels_have_code_of_their_own(tmp_path: Path) -> None:
    first = warmed(tmp_path)
    assert first["compiles"] > 0
    assert [process(tmp_path, RUSTORCH_ISA="v2")["compiles"] for _ in range(3)] == [first["compiles"], 1, 0]


def test_processes_that_start_together(tmp_path: Path) -> None:
    given = os.environ | {"RUSTORCH_CACHE": "1", "RUSTORCH_CACHE_DIR": str(tmp_path), "RUSTORCH_VERIFY": "0"}
    started = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", PROGRAM, "jit"], env=given, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    found = [json.loads(one.communicate(timeout=120)[0]) for one in started]
    assert len({tuple(one["losses"]) for one in found}) == 1
    process(tmp_path)
    assert process(tmp_path)["compiles"] == 0


def test_keys_depend_on_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    identity = stored.compiler_identity()
    assert len(identity) == 64
    keys = {stored.key_of("graph", "a"), stored.key_of("graph", "b"), stored.key_of("entry", "a")}
    monkeypatch.setattr(config, "isa", "v2")
    keys.add(stored.key_of("graph", "a"))
    monkeypatch.setattr(stored, "compiler_identity", lambda: "other sources")
    keys.add(stored.key_of("graph", "a"))
    assert len(keys) == 5


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(config, "cache", True)
    monkeypatch.setattr(config, "cache_dir", str(tmp_path / "cache"))
    warmed(tmp_path / "cache")
    files = len(list((tmp_path / "cache").rglob("*.so")))
    assert main(["cache", "info"]) == 0
    assert f"files   {files}" in capsys.readouterr().out
    assert main(["cache", "pack", str(tmp_path / "packed")]) == 0
    assert main(["cache", "clear"]) == 0
    assert f"{files} files taken away" in capsys.readouterr().out
    assert main(["cache", "unpack", str(tmp_path / "packed")]) == 0
    assert f"{files} files taken in" in capsys.readouterr().out
    assert process(tmp_path / "cache")["compiles"] == 0
    assert main(["cache", "unpack", str(tmp_path / "nothing")]) == 2
    assert main(["cache", "pack", "/proc/none/packed"]) == 2
    capsys.readouterr()
    monkeypatch.setattr(config, "cache", False)
    assert main(["cache", "info"]) == 1
    assert "there is no cache" in capsys.readouterr().out
