"""Verification functions, the hostile ones too, behind both kinds of walls."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from sea_env.domains.database import Database
from sea_env.verify.sandbox.command import Walls
from sea_env.verify.sandbox.inside.episode import NOTHING
from sea_env.verify.sandbox.limits import FunctionLimits
from sea_env.verify.sandbox.pool import FunctionSandbox, Judged
from sea_testing.waiting import HANG_S

DATABASE = Database({"orders": {"A": {"total": 1}, "B": {"total": 2}}}, {"phone": {"on": True}})
LIMITS = FunctionLimits(cpu_s=1, wall_s=HANG_S, memory_bytes=256 * 1024 * 1024)

pytestmark = [pytest.mark.component, pytest.mark.asyncio(loop_scope="module")]


class Judge:
    """Runs a source in one process for all tests: a test would see what another did to it."""

    def __init__(self, walls: Walls) -> None:
        self.walls = walls
        self.box = FunctionSandbox(LIMITS, processes=1, walls=walls)

    async def __call__(self, source: str, **episode: Any) -> Judged:
        return await self.box.run(source, {**NOTHING, **episode}, DATABASE)


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=list(Walls), ids=lambda walls: walls.name.lower()
)
async def judged(request: pytest.FixtureRequest) -> AsyncIterator[Judge]:
    judge = Judge(request.param)
    yield judge
    await judge.box.close()


@pytest.mark.parametrize(
    ("returned", "reward", "reason"),
    [
        ("1", 1.0, ""),
        ("True", 1.0, ""),
        ("0.25, 'a quarter'", 0.25, "a quarter"),
        (r"0.5, 'half \ud800'", 0.5, "half ?"),
        ("0.5, 'long' * 9999", 0.5, "long" * 500),
        ("float(episode['agent_database']['orders']['A']['total'] == 5)", 1.0, ""),
        ("float(episode['agent_database']['orders']['B']['total'] == 2)", 1.0, ""),
        ("'C' not in episode['agent_database']['orders']", 1.0, ""),
        ("episode['user_database']['phone']['on'] is False", 1.0, ""),
        ("episode['messages'][0]['content'] == 'Grüß dich'", 1.0, ""),
    ],
)
async def test_what_a_function_sees_and_returns(
    judged: Judge, returned: str, reward: float, reason: str
) -> None:
    found = await judged(
        f"def verify(episode): return {returned}",
        messages=[{"role": "user", "content": "Grüß dich"}],
        agent_changes=[{"path": "/orders/A/total", "value": 5}],
        user_changes=[{"path": "/phone/on", "value": False}],
    )
    assert found == Judged(reward, reason)


FORGED = """\
import os, sys
def forged(body):
  for n in range(3, 99):
    try: os.write(n, len(body).to_bytes(4, 'big') + body)
    except OSError: pass
  os._exit(0)
"""
"""Writes its own answer, framed as the sandbox does."""
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
    "a forged answer without end": (
        f"{FORGED}forged(b'[' * 60000)",
        "no verdict",
    ),
    "a forged answer of half a character": (
        f'{FORGED}forged(b\'{{"reward": 1.0, "reason": "\\\\ud800"}}\')',
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
async def test_a_hostile_function_costs_the_episode(judged: Judge, name: str) -> None:
    if name in SLOW and judged.walls is Walls.FILTER:
        pytest.skip("ended by limits that do not depend on the walls")
    body, reason = HOSTILE[name]
    lines = "\n".join(f"  {line}" for line in body.split("\n"))
    found = await judged(f"def verify(episode):\n{lines}")
    assert (found.reward, found.failed) == (0.0, True)
    assert re.search(reason, found.reason), found.reason
    assert (await judged("def verify(episode): return 1")).reward == 1.0


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
async def test_a_source_without_a_valid_function(judged: Judge, source: str, reason: str) -> None:
    found = await judged(source)
    assert found.failed
    assert re.search(reason, found.reason), found.reason


async def test_functions_leave_nothing_for_the_next(judged: Judge) -> None:
    orders = "e['agent_database']['orders']"
    spoil = f"import math\nmath.pi = 3\ndef verify(e): {orders}.clear(); return 1"
    look = f"import math\ndef verify(e): return math.pi > 3 and len({orders}) == 2"
    assert (await judged(spoil)).reward == 1.0
    assert (await judged(look)).reward == 1.0


async def test_random_numbers_and_hashes_are_the_same_each_time(judged: Judge) -> None:
    source = "import random\ndef verify(episode): return random.random(), str(hash('a'))"
    assert await judged(source) == await judged(source)
