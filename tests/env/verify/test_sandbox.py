"""The sandbox's processes: shared, replaced, refused; their failures are never a reward."""

import asyncio
import os
import platform
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sea_devcluster.node.sandbox import Sandbox, find_bwrap
from sea_env.domains.database import Database
from sea_env.verify.sandbox import command, process
from sea_env.verify.sandbox.command import Walls
from sea_env.verify.sandbox.inside import seccomp
from sea_env.verify.sandbox.inside.episode import NOTHING, patched
from sea_env.verify.sandbox.limits import FunctionLimits
from sea_env.verify.sandbox.pool import FunctionSandbox, Judged, Sandboxes
from sea_env.verify.sandbox.process import SandboxError
from sea_testing.waiting import HANG_S

pytestmark = pytest.mark.component

DATABASE = Database({"orders": {}})
LIMITS = FunctionLimits(cpu_s=1, wall_s=HANG_S)


WAITS = "import _thread\nlock = _thread.allocate_lock()\nlock.acquire()\nlock.acquire()"
"""Forever, without using CPU time."""


async def run(box: FunctionSandbox, source: str, **episode: Any) -> Judged:
    return await box.run(source, {**NOTHING, **episode}, DATABASE)


async def test_a_function_that_waits_forever_ends_on_the_clock() -> None:
    """Its time counts from the walls on: the sandbox's start is not part of it."""
    box = FunctionSandbox(FunctionLimits(wall_s=1e-6), processes=1)
    found = await run(box, WAITS)
    await box.close()
    assert "not done in time" in found.reason


async def test_nothing_of_the_pods_environment_gets_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even the waiting process has credentials of the worker's environment."""
    monkeypatch.setenv("SEA_TOKEN", "secret-token")
    box = FunctionSandbox(LIMITS, processes=1)
    found = await run(box, "import os\ndef verify(episode): return 1, str(dict(os.environ))")
    await box.close()
    assert box.walls is Walls.BOTH
    assert "PYTHONHASHSEED" in found.reason
    assert "secret-token" not in found.reason


async def test_hashes_are_the_same_in_every_process() -> None:
    """A verdict must not depend on which process gives it: sets of strings have one order."""
    source = "def verify(episode): return 1, str(hash('order'))"
    told = set()
    for _ in range(2):
        box = FunctionSandbox(LIMITS, processes=1)
        told.add((await run(box, source)).reason)
        await box.close()
    assert len(told) == 1


async def test_databases_are_sent_once_and_the_oldest_are_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    ask = process.SandboxProcess.ask

    async def spy(self: process.SandboxProcess, message: dict[str, Any]) -> dict[str, Any]:
        asked.append(next(iter(message)))
        return await ask(self, message)

    monkeypatch.setattr(process.SandboxProcess, "ask", spy)
    box = FunctionSandbox(LIMITS, processes=1)
    bases = [Database({"t": {"k": {"n": n}}}) for n in range(6)]
    source = "def verify(e): return e['agent_database']['t']['k']['n'] / 10"
    for base in [*bases, bases[-1], bases[0]]:
        found = await box.run(source, NOTHING, base)
        assert found.reward == base.agent["t"]["k"]["n"] / 10
    await box.close()
    assert (asked.count("keep"), asked.count("forget"), asked.count("source")) == (7, 3, 8)


async def test_many_episodes_at_a_time_share_few_processes() -> None:
    box = FunctionSandbox(LIMITS, processes=2)
    found = await asyncio.gather(
        *(run(box, f"def verify(episode): return {n} / 100") for n in range(40))
    )
    assert [judged.reward for judged in found] == [n / 100 for n in range(40)]
    await box.close()


async def test_a_cancelled_episode_ends_its_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its answer must not become that of the next episode."""
    box = FunctionSandbox(LIMITS, processes=1)
    assert (await run(box, "def verify(episode): return 1")).reward == 1.0
    sent, hear = asyncio.Event(), process.SandboxProcess._hear

    async def spy(self: process.SandboxProcess) -> dict[str, Any]:
        sent.set()
        return await hear(self)

    monkeypatch.setattr(process.SandboxProcess, "_hear", spy)
    task = asyncio.ensure_future(run(box, WAITS))
    await asyncio.wait_for(sent.wait(), HANG_S)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await run(box, "def verify(episode): return 0.5")).reward == 0.5
    await box.close()


async def test_a_broken_sandbox_is_an_error_not_a_zero_and_heals() -> None:
    box = FunctionSandbox(LIMITS, processes=1, walls=Walls.FILTER)
    await run(box, "def verify(episode): return 1")
    box._idle[0]._process.send_signal(signal.SIGSTOP)
    box._idle[0]._timeout_s = 0.2
    with pytest.raises(SandboxError, match="answers no more"):
        await run(box, "def verify(episode): return 1")
    assert (await run(box, "def verify(episode): return 1")).reward == 1.0
    await box.close()


async def test_without_bubblewrap_the_filter_stands_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: "/nowhere/bwrap")
    box = FunctionSandbox(LIMITS, processes=1)
    assert (await run(box, "def verify(episode): return 1")).reward == 1.0
    assert box.walls is Walls.FILTER
    assert "behind seccomp alone" in caplog.text
    await box.close()


async def test_without_any_wall_functions_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_python", lambda: "/nowhere/python")
    box = FunctionSandbox(LIMITS, processes=1)
    with pytest.raises(SandboxError, match=r"in a sandbox or not at all\..*Install bubblewrap"):
        await run(box, "def verify(episode): return 1")


def test_a_machine_without_a_filter_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(OSError, match="riscv64"):
        seccomp.install()


@pytest.mark.parametrize("machine", seccomp.TABLES)
def test_the_filter_lists_every_call_on_every_machine(machine: str) -> None:
    architecture, numbers = seccomp.TABLES[machine]
    assert len(numbers) == len(set(numbers)) == len(seccomp.NAMES)
    assert len(seccomp.program(architecture, numbers)) == 8 * (len(numbers) + 6)


def test_it_works_in_a_pod_of_the_devcluster(root: Path) -> None:
    """A sandbox in a sandbox: both walls, and the pod's files are not visible."""
    program = (
        "import asyncio\n"
        "from sea_env.domains.database import Database\n"
        "from sea_env.verify.sandbox.inside.episode import NOTHING\n"
        "from sea_env.verify.sandbox.pool import FunctionSandbox\n"
        "async def main():\n"
        "    box = FunctionSandbox()\n"
        "    good = await box.run('def verify(e): return 1', NOTHING, Database({}))\n"
        "    bad = await box.run('def verify(e): open(\"/etc/hosts\")', NOTHING, Database({}))\n"
        "    print(box.walls.name, good.reward, bad.reward, bad.reason)\n"
        "    await box.close()\n"
        "asyncio.run(main())\n"
    )
    pod = Sandbox(hostname="pod", command=[sys.executable, "-c", program], image_mounts=[str(root)])
    done = subprocess.run(
        pod.arguments(find_bwrap()),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(root / "workloads")},
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    assert done.stdout.startswith("BOTH 1.0 0.0"), done.stderr


@pytest.mark.parametrize("walls", list(Walls))
def test_no_process_outlives_its_worker(walls: Walls, root: Path) -> None:
    program = (
        "import asyncio\n"
        "from sea_env.verify.sandbox.limits import FunctionLimits\n"
        "from sea_env.verify.sandbox.process import SandboxProcess\n"
        "from sea_env.verify.sandbox.command import Walls\n"
        "async def main():\n"
        f"    started = await SandboxProcess.start(Walls.{walls.name}, FunctionLimits())\n"
        "    print(started._process.pid, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(root / "workloads")},
        stdout=subprocess.PIPE,
    )
    assert worker.stdout is not None
    with worker:
        pid = int(worker.stdout.readline())
        watched = os.pidfd_open(pid)
        worker.kill()
        assert select.select([watched], [], [], HANG_S)[0], "it still runs"
        os.close(watched)


async def test_what_the_process_holds_is_not_the_functions_memory() -> None:
    """A database larger than the limit leaves the function all of its memory."""
    big = Database({"t": {str(n): {"text": f"{n:01000d}"} for n in range(60_000)}})
    box = FunctionSandbox(FunctionLimits(memory_bytes=48 * 1024 * 1024), processes=1)
    assert (await box.run("def verify(e): return len(bytes(1 << 23)) > 0", NOTHING, big)).reward
    assert (await box.run("def verify(e): return len(bytes(1 << 26)) > 0", NOTHING, big)).failed
    await box.close()


def test_patched_tables_share_what_is_unchanged() -> None:
    base = {"a": {"x": {"n": 1, "o": 2}, "y": {}}, "b": {}}
    changes: list[dict[str, Any]] = [
        {"path": "/a/x/n", "value": 2},
        {"path": "/a/x/o", "removed": True},
        {"path": "/a/k~1l", "value": {"new": [1]}},
        {"path": "/c/z", "value": 3},
    ]
    found = patched(base, changes)
    assert found == {"a": {"x": {"n": 2}, "y": {}, "k/l": {"new": [1]}}, "b": {}, "c": {"z": 3}}
    assert found["b"] is base["b"]
    assert base["a"]["x"] == {"n": 1, "o": 2}


async def test_a_verification_is_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every episode of a row with a function pays for it: one process serves all, by forks."""
    started: list[process.SandboxProcess] = []
    start = process.SandboxProcess.start

    async def spy(*given: Any) -> process.SandboxProcess:
        started.append(await start(*given))
        return started[-1]

    monkeypatch.setattr(process.SandboxProcess, "start", spy)
    box = FunctionSandbox(processes=1)
    for _ in range(20):
        await run(box, "def verify(episode): return 1")
    assert len(started) == 1
    await box.close()


async def test_limits_change_while_a_function_runs() -> None:
    """A running function keeps its own limits, and its process ends with it."""
    boxes = Sandboxes()
    allocate = "def verify(e): return float(len(bytearray(150_000_000)) > 0)"
    large = await boxes.of(FunctionLimits(memory_bytes=512 * 1024 * 1024))
    assert await boxes.of(FunctionLimits()) is large, "these are the defaults"
    source = "import time\ndef verify(e):\n while time.process_time() < 0.3: pass\n return 1"
    running = asyncio.ensure_future(run(large, source))
    while not large.walls:  # noqa: ASYNC110  it has no event of its own
        await asyncio.sleep(0.01)
    small = await boxes.of(FunctionLimits(memory_bytes=64 * 1024 * 1024))
    assert small is not large
    assert "memory" in (await run(small, allocate)).reason.lower()
    assert (await running).reward == 1
    assert not large._idle, "it is not used again"
    assert (await run(await boxes.of(FunctionLimits()), allocate)).reward == 1
    await boxes.close()
