"""The command line and the environment."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from sea_operator.main import MayAct, parse
from sea_operator.settings import health_host, identity, images, own_namespace


@pytest.fixture(autouse=True)
def outside_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POD_NAME", "POD_NAMESPACE", "POD_IP"):
        monkeypatch.delenv(name, raising=False)


def test_defaults() -> None:
    settings = parse([])
    assert (settings.namespaces, settings.lease_namespace) == ((), "default")
    assert (settings.health_host, settings.health_port) == ("127.0.0.1", 8080)


def test_arguments() -> None:
    settings = parse(["--namespace", "a", "--namespace", "b", "--identity", "me"])
    assert (settings.namespaces, settings.identity) == (("a", "b"), "me")
    with pytest.raises(SystemExit):
        parse(["--namespace", "a", "--all-namespaces"])


def test_in_a_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    pod = {"POD_NAME": "op-0", "POD_NAMESPACE": "sea-system", "POD_IP": "10.0.0.9"}
    for name, value in pod.items():
        monkeypatch.setenv(name, value)
    settings = parse([])
    assert (settings.identity, settings.lease_namespace) == ("op-0", "sea-system")
    assert settings.health_host == "10.0.0.9"


def test_environment(tmp_path: Path) -> None:
    env = {"SEA_TRAINER_IMAGE": "t:1", "SEA_ROLLOUT_IMAGE": "r:1", "SEA_COORDINATOR_IMAGE": "c:1"}
    found = images(env)
    assert (found.trainer, found.rollout, found.coordinator) == ("t:1", "r:1", "c:1")
    assert identity({}) != identity({})
    file = tmp_path / "namespace"
    assert own_namespace({}, file) is None
    file.write_text("here\n")
    assert own_namespace({}, file) == "here"
    assert health_host({}) == "127.0.0.1"


class Watch:
    """A reflector as far as the gate knows it."""

    def __init__(self, namespace: str | None = None) -> None:
        self.namespace = namespace
        self.answered = asyncio.Event()
        self.synced = asyncio.Event()


class Lease:
    """An elector as far as the gate knows it."""

    def __init__(self) -> None:
        self.held = asyncio.Event()

    async def wait(self) -> None:
        await self.held.wait()


@pytest.mark.parametrize("lease_first", [True, False])
async def test_a_fresh_leader_waits_until_all_its_watches_have_listed(lease_first: bool) -> None:
    watches, lease = [Watch(), Watch()], Lease()
    gate = MayAct(watches, lease)  # type: ignore[arg-type]
    waiter = asyncio.create_task(gate.wait())
    events = [watches[1].answered, watches[0].answered]
    events.insert(0 if lease_first else 2, lease.held)
    for event in events:
        for _ in range(5):
            await asyncio.sleep(0)
        assert not waiter.done()
        event.set()
    await asyncio.wait_for(waiter, 120)


async def test_a_namespace_that_may_not_be_listed_stops_only_its_own_jobs() -> None:
    fine, refused, lease = Watch("a"), Watch("b"), Lease()
    gate = MayAct([fine, refused], lease)  # type: ignore[list-item, arg-type]
    fine.synced.set()
    for event in (fine.answered, refused.answered, lease.held):
        event.set()
    await asyncio.wait_for(gate.wait(), 120)
    assert (gate.knows("a"), gate.knows("b")) == (True, False)


def test_a_watch_of_all_namespaces_is_needed_by_each() -> None:
    everywhere = Watch()
    gate = MayAct([everywhere], Lease())  # type: ignore[list-item, arg-type]
    assert not gate.knows("a")
    everywhere.synced.set()
    assert gate.knows("a")


LOOP_HANGS = """
import asyncio, sys, time
from sea_operator import main

async def hang():
    main._stop_on_signals(asyncio.Event())
    sys.stdout.write("ready\\n")
    sys.stdout.flush()
    time.sleep(600)  # the loop stands still, as in a deadlock

main.EXIT_SECONDS = 0.1
asyncio.run(hang())
"""
KOPF_HANGS = """
import asyncio, sys, time
import kopf
from sea_operator import kopf_watch, main

async def hang(**_):
    sys.stdout.write("ready\\n")
    sys.stdout.flush()
    time.sleep(600)

async def run():
    stopping = asyncio.Event()
    main._stop_on_signals(stopping)
    thread = kopf_watch.KopfThread(None, [])
    thread.start()
    await stopping.wait()
    await thread.stop()

kopf.operator = hang
kopf_watch.STOP_SECONDS = 0.1
asyncio.run(run())
"""


@pytest.mark.parametrize(("program", "code"), [(LOOP_HANGS, 1), (KOPF_HANGS, 0)])
async def test_a_process_in_which_something_hangs_is_gone_soon_after_sigterm(
    program: str, code: int
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(120):
            assert await process.stdout.readline() == b"ready\n"
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == code
    finally:
        if process.returncode is None:
            process.kill()
