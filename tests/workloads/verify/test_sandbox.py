"""Verification functions in the sandbox, the hostile ones too, behind both kinds of walls."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sea_devcluster.node.sandbox import Sandbox, find_bwrap
from sea_workloads.domains.database import Database
from sea_workloads.verify.sandbox import command, process
from sea_workloads.verify.sandbox.command import Walls
from sea_workloads.verify.sandbox.errors import SandboxError
from sea_workloads.verify.sandbox.inside import seccomp
from sea_workloads.verify.sandbox.inside.episode import NOTHING, patched
from sea_workloads.verify.sandbox.limits import FunctionLimits
from sea_workloads.verify.sandbox.pool import FunctionSandbox, Judged

DATABASE = Database({"orders": {"A": {"total": 1}, "B": {"total": 2}}}, {"phone": {"on": True}})
LIMITS = FunctionLimits(cpu_s=1, wall_s=20.0, memory_bytes=256 * 1024 * 1024)
WALLS = list(Walls)


@pytest.fixture(params=WALLS, ids=lambda walls: walls.name.lower())
async def sandbox(request: pytest.FixtureRequest) -> AsyncIterator[FunctionSandbox]:
    box = FunctionSandbox(LIMITS, processes=1, walls=request.param)
    yield box
    await box.close()


async def run(box: FunctionSandbox, source: str, **episode: Any) -> Judged:
    return await box.run(source, {**NOTHING, **episode}, DATABASE)


@pytest.mark.parametrize(
    ("returned", "reward", "reason"),
    [
        ("1", 1.0, ""),
        ("True", 1.0, ""),
        ("0.25, 'a quarter'", 0.25, "a quarter"),
        ("float(episode['agent_database']['orders']['A']['total'] == 5)", 1.0, ""),
        ("float(episode['agent_database']['orders']['B']['total'] == 2)", 1.0, ""),
        ("'C' not in episode['agent_database']['orders']", 1.0, ""),
        ("episode['user_database']['phone']['on'] is False", 1.0, ""),
        ("episode['messages'][0]['content'] == 'Grüß dich'", 1.0, ""),
    ],
)
async def test_what_a_function_sees_and_returns(
    sandbox: FunctionSandbox, returned: str, reward: float, reason: str
) -> None:
    found = await run(
        sandbox,
        f"def verify(episode): return {returned}",
        messages=[{"role": "user", "content": "Grüß dich"}],
        agent_changes=[{"path": "/orders/A/total", "value": 5}],
        user_changes=[{"path": "/phone/on", "value": False}],
    )
    assert found == Judged(reward, reason)


HOSTILE = {
    "a fork bomb": ("import os\nwhile True: os.fork()", "PermissionError"),
    "threads": ("import _thread\n_thread.start_new_thread(print, ())", "can't start new thread"),
    "an endless loop": ("while True: pass", "more than 1 s of CPU time"),
    "a loop deaf to signals": (
        "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass",
        "CPU time|No module|PermissionError",
    ),
    "reading a file": ("open('/etc/passwd').read()", "PermissionError in line 2"),
    "writing a file": ("open('/tmp/x', 'w')", "PermissionError"),
    "reading the pod's environment": ("open('/proc/self/environ')", "PermissionError"),
    "a socket": ("import socket\nsocket.socket()", "ModuleNotFoundError"),
    "another program": ("import os\nos.execv('/bin/sh', ['sh'])", "PermissionError"),
    "10 GiB at once": ("bytearray(10 << 30)", "MemoryError"),
    "10 GiB bit by bit": ("x = [b'']\nwhile True: x.append(bytes(1 << 24))", "MemoryError"),
    "printing gigabytes": ("while True: print('x' * 100000)", "prints too much"),
    "writing gigabytes to every file": (
        "import os\nfor n in range(99):\n  try:\n    while True: os.write(n, b'x' * 65536)\n"
        "  except OSError: pass",
        "answered too much",
    ),
    "a forged answer": (
        "import os\nfor n in range(99):\n  try: os.write(n, b'{\"reward\": 1e9}')\n"
        "  except OSError: pass\nos._exit(0)",
        "no verdict",
    ),
    "not a number": ("return float('nan')", "isn't between 0 and 1"),
    "infinity": ("return float('inf')", "isn't between 0 and 1"),
    "more than one": ("return 1.5", "isn't between 0 and 1"),
    "less than zero": ("return -1", "isn't between 0 and 1"),
    "the wrong type": ("return 'yes'", "returned str"),
    "nothing": ("pass", "returned NoneType"),
    "killing its parent": ("import os\nos.kill(os.getppid(), 9)", "PermissionError"),
    "killing everything": ("import os\nos.kill(-1, 9)", "PermissionError"),
    "leaving without a word": ("import os\nos._exit(0)", "os._exit"),
    "leaving with a word": ("raise SystemExit(0)", "SystemExit"),
    "deep recursion": ("return verify(episode)", "RecursionError"),
    "bottomless recursion": (
        "import sys\nsys.setrecursionlimit(10**9)\nreturn verify(episode)",
        "MemoryError|CPU time|SIGSEGV",
    ),
    "recursion in C": (
        "import sys\nsys.setrecursionlimit(10**9)\nx = []\nfor _ in range(10**6): x = [x]\nrepr(x)",
        "SIGSEGV|MemoryError|CPU time",
    ),
    "breaking the interpreter": (
        "import sys, builtins\nbuiltins.__dict__.clear()\nsys.modules.clear()\nreturn 1",
        "instead of returning|failed",
    ),
}


SLOW = frozenset({"a loop deaf to signals", "bottomless recursion", "recursion in C"})
"""Ended by limits that don't depend on the walls."""


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_function_costs_the_episode(sandbox: FunctionSandbox, name: str) -> None:
    if name in SLOW and sandbox.walls is Walls.FILTER:
        return
    body, reason = HOSTILE[name]
    lines = "\n".join(f"  {line}" for line in body.split("\n"))
    found = await run(sandbox, f"def verify(episode):\n{lines}")
    assert (found.reward, found.failed) == (0.0, True)
    assert re.search(reason, found.reason), found.reason
    assert (await run(sandbox, "def verify(episode): return 1")).reward == 1.0


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def verify(:", "SyntaxError in line 1"),
        ("x = 1", "defines no function verify"),
        ("def verify(): return 1", "TypeError"),
        ("1 / 0", "ZeroDivisionError in line 1"),
        ("\0", "ValueError|SyntaxError"),
    ],
)
async def test_a_function_that_is_none(sandbox: FunctionSandbox, source: str, reason: str) -> None:
    found = await run(sandbox, source)
    assert found.failed
    assert re.search(reason, found.reason), found.reason


async def test_a_function_that_waits_for_ever_ends_on_the_clock() -> None:
    box = FunctionSandbox(FunctionLimits(wall_s=0.3), processes=1)
    source = "import _thread\nlock = _thread.allocate_lock()\nlock.acquire()\nlock.acquire()"
    found = await run(box, source)
    await box.close()
    assert "not done in time" in found.reason


async def test_functions_leave_nothing_for_the_next(sandbox: FunctionSandbox) -> None:
    orders = "e['agent_database']['orders']"
    spoil = f"import math\nmath.pi = 3\ndef verify(e): {orders}.clear(); return 1"
    look = f"import math\ndef verify(e): return math.pi > 3 and len({orders}) == 2"
    assert (await run(sandbox, spoil)).reward == 1.0
    assert (await run(sandbox, look)).reward == 1.0


async def test_same_dice_every_time(sandbox: FunctionSandbox) -> None:
    source = "import random\ndef verify(episode): return random.random(), str(hash('a'))"
    assert await run(sandbox, source) == await run(sandbox, source)


async def test_everything_of_the_pod_stays_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials of the worker's environment aren't even in the process that waits."""
    monkeypatch.setenv("SEA_TOKEN", "secret-token")
    box = FunctionSandbox(LIMITS, processes=1)
    found = await run(box, "import os\ndef verify(episode): return 1, str(dict(os.environ))")
    await box.close()
    assert box.walls is Walls.BOTH
    assert "PYTHONHASHSEED" in found.reason
    assert "secret-token" not in found.reason


async def test_databases_are_sent_once_and_forgotten_in_turn(
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


async def test_a_cancelled_episode_takes_its_process_along() -> None:
    """Its answer must not become that of the next episode."""
    box = FunctionSandbox(LIMITS, processes=1)
    assert (await run(box, "def verify(episode): return 1")).reward == 1.0
    task = asyncio.ensure_future(run(box, "def verify(episode):\n  while True: pass"))
    await asyncio.sleep(0)
    await asyncio.sleep(0.05)
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
    monkeypatch.setattr(command.shutil, "which", lambda _: "/nowhere/bwrap")
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
    monkeypatch.setattr(seccomp.platform, "machine", lambda: "riscv64")
    with pytest.raises(OSError, match="riscv64"):
        seccomp.install()


@pytest.mark.parametrize("machine", seccomp.TABLES)
def test_the_filter_lists_every_call_on_every_machine(machine: str) -> None:
    architecture, numbers = seccomp.TABLES[machine]
    assert len(numbers) == len(set(numbers)) == len(seccomp.NAMES)
    assert len(seccomp.program(architecture, numbers)) == 8 * (len(numbers) + 6)


def test_it_works_in_a_pod_of_the_devcluster(root: Path) -> None:
    """A sandbox in a sandbox: with both walls, and a file that the pod has stays unseen."""
    program = (
        "import asyncio\n"
        "from sea_workloads.domains.database import Database\n"
        "from sea_workloads.verify.sandbox.inside.episode import NOTHING\n"
        "from sea_workloads.verify.sandbox.pool import FunctionSandbox\n"
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
        timeout=60,
        check=False,
    )
    assert done.stdout.startswith("BOTH 1.0 0.0"), done.stderr


def test_patched_tables_share_what_is_unchanged() -> None:
    base = {"a": {"x": {"n": 1, "o": 2}, "y": {}}, "b": {}}
    changes = [
        {"path": "/a/x/n", "value": 2},
        {"path": "/a/x/o", "removed": True},
        {"path": "/a/k~1l", "value": {"new": [1]}},
        {"path": "/c/z", "value": 3},
    ]
    found = patched(base, changes)
    assert found == {"a": {"x": {"n": 2}, "y": {}, "k/l": {"new": [1]}}, "b": {}, "c": {"z": 3}}
    assert found["b"] is base["b"]
    assert base["a"]["x"] == {"n": 1, "o": 2}


async def test_a_verification_is_cheap() -> None:
    """Milliseconds, since every episode of a row with a function pays for it."""
    box = FunctionSandbox(processes=1)
    await run(box, "def verify(episode): return 1")
    started = time.perf_counter()
    for _ in range(20):
        await run(box, "def verify(episode): return 1")
    assert (time.perf_counter() - started) / 20 < 0.5
    await box.close()
