"""The worker pool: how many threads, when they start and end, what may happen around them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import rustorch
from rustorch.artifact import MOST_THREADS, POOL, POOL_BYTES, WORKER_BYTES
from rustorch.compiler import Compiled, compile_graph
from rustorch.ir.builder import Builder
from rustorch.ir.dtypes import f32
from rustorch.runtime import threads


@pytest.fixture(autouse=True)
def _same_number_after() -> Iterator[None]:
    before = rustorch.get_num_threads()
    yield
    rustorch.set_num_threads(before)


def shared() -> Compiled:
    """A sum that threads share."""
    b = Builder()
    x = b.input(f32[400_000], "x")
    return compile_graph(b.build([b.reduce_sum(b.tanh(x), axes=(0,))], "shared"))


def alive() -> int:
    """The number of threads of this process."""
    return len(os.listdir("/proc/self/task"))


PROGRAM = """
import os, signal, sys, threading, time
import numpy as np
import rustorch
from rustorch.runtime import threads

def alive():
    return len(os.listdir("/proc/self/task"))

f = rustorch.jit(lambda x: rustorch.tanh(x).sum())
x = rustorch.tensor(np.linspace(-3, 3, 400_000).astype(np.float32))
"""


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program in a process of its own, which must end by itself within a minute."""
    text = PROGRAM + textwrap.dedent(program)
    variables = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "RUSTORCH_NUM_THREADS": "4", **environment}
    return subprocess.run([sys.executable, "-c", text], env=variables, capture_output=True, text=True, timeout=60)


def succeeds(program: str, **environment: str) -> str:
    done = run(program, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


# --- How many -----------------------------------------------------------------------------------------------------------------


def test_the_number_is_set_and_got() -> None:
    for n in (1, 5, 2):
        rustorch.set_num_threads(n)
        assert rustorch.get_num_threads() == n
    rustorch.set_num_threads(10**6)
    assert rustorch.get_num_threads() == MOST_THREADS


def test_numbers_that_are_none() -> None:
    for n in (0, -3):
        with pytest.raises(RuntimeError, match=r"^set_num_threads expects a positive integer\n  got"):
            rustorch.set_num_threads(n)
    for wrong in (1.5, "2", True, None):
        with pytest.raises(TypeError, match=r"^set_num_threads expects an int\n  got"):
            rustorch.set_num_threads(wrong)  # type: ignore[arg-type]


def test_the_environment_says_how_many() -> None:
    assert succeeds("print(rustorch.get_num_threads())", RUSTORCH_NUM_THREADS="3") == "3"
    for nonsense in ("", "many", "-1", "0"):
        assert int(succeeds("print(rustorch.get_num_threads() - threads.available())", RUSTORCH_NUM_THREADS=nonsense)) == 0


def test_affinity_is_kept() -> None:
    program = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); print(threads.available())"
    assert succeeds(program, RUSTORCH_NUM_THREADS="") == "1"


@pytest.mark.parametrize(
    ("groups", "files", "processors"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/a/b\n", {"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "max 100000\n"}, 2.0),
        ("0::/a/b\n", {"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "50000 100000\n"}, 0.5),
        ("4:cpu,cpuacct:/x\n3:memory:/y\n", {"cpu,cpuacct/x/cpu.cfs_quota_us": "300000", "cpu,cpuacct/x/cpu.cfs_period_us": "100000"}, 3.0),
        ("4:cpu:/x\n", {"cpu/x/cpu.cfs_quota_us": "-1", "cpu/x/cpu.cfs_period_us": "100000"}, 0.0),
        ("0::/\n", {"cpu.max": "nonsense"}, 0.0),
        ("0::/\n", {}, 0.0),
    ],
)
def test_quotas(groups: str, files: dict[str, str], processors: float, tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text(groups)
    root = tmp_path / "fs"
    root.mkdir()
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    assert threads._quota(root, tmp_path / "cgroup") == processors


def test_fields_do_not_overlap() -> None:
    """Words of 4 and 8 bytes; workers' records lie behind them."""
    halves = {"size", "isa_cap", "generation", "members", "sleepers", "busy", "alive", "wanted"}
    places = sorted((offset, offset + (4 if name in halves else 8)) for name, offset in POOL.items())
    assert all(end <= start for (_, end), (start, _) in pairwise(places))
    assert POOL["workers"] + MOST_THREADS * WORKER_BYTES == POOL_BYTES


# --- Workers --------------------------------------------------------------------------------------------------------------------


def test_workers_start_when_they_are_wanted_and_end_when_not() -> None:
    succeeds("""
        assert alive() == 1, "import starts no thread"
        small = rustorch.jit(lambda x: rustorch.tanh(x).sum())
        small(rustorch.tensor(np.ones(10, np.float32)))
        assert alive() == 1, "nor does work for one thread"
        f(x)
        assert alive() == 4
        rustorch.set_num_threads(2)
        f(x)
        until = time.monotonic() + 10
        while alive() != 2 and time.monotonic() < until: time.sleep(0.01)
        assert alive() == 2
        rustorch.set_num_threads(6)
        f(x)
        assert alive() == 6
        """)


def test_idle_workers_sleep() -> None:
    used = succeeds("""
        f(x)
        time.sleep(0.2)
        before = time.process_time()
        time.sleep(0.5)
        print(time.process_time() - before)
        """)
    assert float(used) < 0.05


def test_the_process_ends_with_workers_at_rest_or_at_work() -> None:
    for pause in ("", "time.sleep(0.05)"):
        for _ in range(3):
            succeeds(f"f(x)\n{pause}")
    succeeds("""
        def forever():
            while True: f(x)
        threading.Thread(target=forever, daemon=True).start()
        time.sleep(0.2)
        """)


def test_a_child_has_workers_of_its_own() -> None:
    """Also when another thread is inside a loop while the process is forked."""
    succeeds("""
        expected = float(f(x))
        def forever():
            while True: f(x)
        threading.Thread(target=forever, daemon=True).start()
        for _ in range(5):
            time.sleep(0.01)
            child = os.fork()
            if child == 0:
                assert alive() == 1
                same = float(f(x)) == expected
                os._exit(0 if same and alive() == 4 else 1)
            assert os.waitpid(child, 0)[1] == 0
        assert float(f(x)) == expected
        """)


def test_ctrl_c_interrupts_python_and_leaves_the_pool_whole() -> None:
    """Workers block all signals: Python's handler runs on the main thread, between two calls."""
    succeeds("""
        expected = float(f(x))
        for _ in range(3):
            threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
            try:
                while True: f(x)
            except KeyboardInterrupt:
                pass
            assert float(f(x)) == expected
        """)


def test_a_system_that_refuses_threads() -> None:
    """The limit counts the user's threads; root's is not enforced, so the refusal is made by an address space without room for stacks."""
    succeeds("""
        import resource
        import rustorch.compiler.pipeline
        expected = float(f(rustorch.tensor(np.linspace(-3, 3, 300_000).astype(np.float32))))
        rustorch.set_num_threads(1)
        rustorch.set_num_threads(200)
        size = int(open("/proc/self/statm").read().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (size + (40 << 20), size + (40 << 20)))
        f(x)
        assert alive() < 50
        f(x)
        """)


def test_many_python_threads_at_once() -> None:
    """One of them has the workers, the others run alone: all with the same bits."""
    rustorch.set_num_threads(3)
    compiled = shared()
    x = np.random.default_rng(0).standard_normal(400_000).astype(np.float32)
    (expected,) = compiled.run([x])
    wrong: list[bytes] = []

    def work() -> None:
        for _ in range(20):
            (got,) = compiled.run([x])
            if got.tobytes() != expected.tobytes():
                wrong.append(got.tobytes())

    several = [threading.Thread(target=work) for _ in range(6)]
    for one in several:
        one.start()
    for n in (2, 5, 1, 4):  # the number changes under way
        rustorch.set_num_threads(n)
        time.sleep(0.005)
    for one in several:
        one.join()
    assert not wrong


def test_the_executor_is_there_once_it_is_needed() -> None:
    compiled = shared()
    assert compiled.executable is not None
    assert compiled.executable.executor == threads.executor() != 0
    assert threads.executor() % 64 == 0
