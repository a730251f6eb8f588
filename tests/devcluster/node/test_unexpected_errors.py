"""Unexpected exceptions are reported in an Event and in the log, and retried, as a kubelet does."""

import asyncio
import errno
import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sea_devcluster.controlplane import ControlPlane
from sea_devcluster.node.agent import finished_before, kept_running
from sea_devcluster.node.exit_status import BackoffPolicy
from sea_devcluster.node.kube_json import utc_now
from sea_devcluster.node.logs import ContainerLog
from sea_devcluster.node.pod_worker import PodWorker
from sea_devcluster.node.probes import ProbeCallbacks, Prober
from sea_devcluster.node.status_publisher import StatusPublisher

POD: dict[str, Any] = {
    "metadata": {"name": "p", "namespace": "n", "uid": "u"},
    "spec": {"containers": [{"name": "main", "image": "i"}]},
}


class Context:
    """What a worker uses of the node's context before its pod is set up."""

    def __init__(self, folder: Any) -> None:
        self.config = SimpleNamespace(
            root=folder, memory_folder=folder / "memory", allow_host_path=[], address="127.0.0.1"
        )
        self.api = SimpleNamespace(patch=self._patch, delete=self._delete)
        self.events = SimpleNamespace(record=lambda _, *event: self.told.append(event))
        self.names = SimpleNamespace(remove=lambda _: None)
        self.addresses = SimpleNamespace(release=lambda _: None, claim=self._claim)
        self.backoff = BackoffPolicy(0.001, 0.002, 60.0)
        self.now = utc_now
        self.told: list[Any] = []
        self.deleted = asyncio.Event()
        self.claims = itertools.count(1)
        self.enough = asyncio.Event()

    def _claim(self, *_: Any) -> None:
        if next(self.claims) == 3:
            self.enough.set()
        raise KeyError("unexpected")

    async def _patch(self, _path: Any, _body: Any) -> Any:
        return {}

    async def _delete(self, _path: Any, _body: Any) -> None:
        if not self.deleted.is_set():
            self.deleted.set()
            raise ValueError("unexpected at the end")


async def test_a_worker_that_fails_is_reported_and_restarted(tmp_path: Path) -> None:
    """Regression: the pod stayed Pending indefinitely and only the node's log said why."""
    context: Any = Context(tmp_path)
    worker = PodWorker(context, POD)
    life = asyncio.ensure_future(worker.run())
    async with asyncio.timeout(60):
        await context.enough.wait()
        worker.update({**POD, "metadata": {**POD["metadata"], "deletionTimestamp": "now"}})
        await life
    assert context.deleted.is_set(), "an error at the end doesn't keep a pod Terminating"
    kind, reason, message = context.told[0]
    assert (kind, reason) == ("Warning", "FailedSync")
    assert "KeyError: 'unexpected'" in message
    assert "unexpected at the end" in context.told[-1][2]


async def test_a_status_that_cannot_be_made_keeps_no_pod_terminating(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the pod ends matters more than its last status."""
    context: Any = Context(tmp_path)
    deleted = asyncio.Event()

    async def delete(_path: Any, _body: Any) -> None:
        deleted.set()

    def unexpected(_view: Any, _previous: Any, _now: Any) -> None:
        raise KeyError("unexpected")

    context.api.delete = delete
    monkeypatch.setattr("sea_devcluster.node.pod_worker.pod_status", unexpected)
    worker = PodWorker(context, POD)
    life = asyncio.ensure_future(worker.run())
    worker.update({**POD, "metadata": {**POD["metadata"], "deletionTimestamp": "now"}})
    async with asyncio.timeout(60):
        await deleted.wait()
        await life
    assert life.exception() is None


async def test_a_task_of_the_agent_starts_again() -> None:
    """A node that sends heartbeats and watches nothing looks healthy and runs no pod."""
    rounds, enough = itertools.count(1), asyncio.Event()

    async def work() -> None:
        if next(rounds) == 3:
            enough.set()
            await asyncio.Event().wait()
        raise KeyError("unexpected")

    task = asyncio.ensure_future(kept_running(work, 0.0))
    async with asyncio.timeout(60):
        await enough.wait()
    assert next(rounds) == 4, "two rounds broke, the third goes on"
    task.cancel()


async def test_an_agent_that_is_stopped_while_it_starts_gives_up_at_once() -> None:
    """Regression: SIGTERM took effect only after minutes of attempts to register."""
    stop, cancelled = asyncio.Event(), asyncio.Event()

    async def register() -> None:
        try:
            stop.set()
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with asyncio.timeout(60):
        assert not await finished_before(stop, register())
    assert cancelled.is_set()


async def test_what_fails_while_an_agent_starts_is_raised() -> None:
    async def fail() -> None:
        raise KeyError("no registration")

    with pytest.raises(KeyError, match="no registration"):
        await finished_before(asyncio.Event(), fail())


async def test_a_status_that_cannot_be_made_is_made_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer of a pod's status outlives an unexpected error."""
    monkeypatch.setattr("sea_devcluster.node.status_publisher.UNEXPECTED_RETRY_SECONDS", 0.0)
    rounds, written = itertools.count(1), asyncio.Event()

    def compute(_: Any) -> Any:
        if next(rounds) < 3:
            raise KeyError("unexpected")
        return {"phase": "Running"}

    bodies = []

    async def patch(_path: Any, body: Any) -> None:
        bodies.append(body)
        written.set()

    api: Any = SimpleNamespace(patch=patch)
    publisher = StatusPublisher(api, POD, compute)
    publisher.changed()
    task = asyncio.ensure_future(publisher.run())
    async with asyncio.timeout(60):
        await written.wait()
    assert bodies[0]["status"]["phase"] == "Running"
    task.cancel()


async def test_a_probe_that_cannot_be_made_is_reported_and_repeated() -> None:
    """Its result is discarded; the other probes and the container continue."""
    told, rounds, ready = [], itertools.count(1), asyncio.Event()

    async def check(_: Any) -> None:
        if next(rounds) < 3:
            raise KeyError("unexpected")

    def health(_: Any, is_ready: Any) -> None:
        if is_ready:
            ready.set()

    probe = {"exec": {"command": ["x"]}, "periodSeconds": 0.001, "failureThreshold": 1}
    callbacks = ProbeCallbacks(health, lambda _, problem: told.append(problem), lambda _: None)
    prober = asyncio.ensure_future(Prober({"readinessProbe": probe}, check, callbacks).run())
    async with asyncio.timeout(60):
        await ready.wait()
    prober.cancel()
    assert "KeyError: 'unexpected'" in told[0]


class FullDisk:
    """A file on a disk that is full."""

    closed = False

    def write(self, _: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def close(self) -> None:
        pass


def test_a_full_disk_costs_lines_and_not_the_container(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The agent must go on reading the output, or the container blocks in its next print."""
    log = ContainerLog(tmp_path / "logs", 4096, utc_now)
    log.begin(0)
    full: Any = FullDisk()
    log._file = full
    log.write(b"lost\n")
    log.write(b"lost too\n")
    log.end()
    assert caplog.text.count("No space left on device") == 1


@pytest.mark.cluster
def test_an_argument_that_no_program_can_get(namespace: Any, helpers: Any) -> None:
    """Regression: the API server accepts a NUL, the kernel doesn't; the pod stayed Pending."""
    container = {**helpers.shell("true"), "args": ["a\0b"]}
    namespace.run("nul", container, restartPolicy="Never")
    pod = namespace.until("pods", "nul", lambda one: one["status"]["phase"] == "Failed")
    ended = helpers.container_status(pod)["state"]["terminated"]
    assert ended["reason"] == "StartError"
    assert "null byte" in ended["message"]


@pytest.mark.cluster
def test_a_pod_without_a_place_waits_for_it(
    control_plane: ControlPlane, namespace: Any, make_agent: Any, helpers: Any
) -> None:
    """As on a full disk: reported in an Event, retried, and run once it's possible."""
    agent = make_agent("cramped")
    blocker = agent.root / "pods"
    agent.root.mkdir()
    blocker.write_text("in the way")
    agent.start()
    namespace.agent = agent
    namespace.run("late", helpers.shell("echo there; sleep 600"), nodeName="cramped")

    def told() -> Any:
        events = control_plane.api.get(namespace.path("events"))["items"]
        return [e for e in events if e["reason"] == "FailedCreatePodSandBox"]

    events = namespace.until_true(told, "an event", seconds=100)
    assert str(blocker) in events[0]["message"]
    assert namespace.get("pods", "late")["status"]["phase"] == "Pending"
    blocker.unlink()
    namespace.until("pods", "late", helpers.is_ready, seconds=100)
    agent.stop()


@pytest.mark.cluster
def test_a_program_that_is_not_there_is_a_warning(
    control_plane: ControlPlane, namespace: Any, helpers: Any
) -> None:
    """Regression: Started was the last Event that `kubectl describe` showed."""
    container = {**helpers.shell(""), "command": ["/no/such/program"]}
    namespace.run("absent", container, restartPolicy="Never")
    namespace.until("pods", "absent", lambda one: one["status"]["phase"] == "Failed")

    def told() -> Any:
        events = control_plane.api.get(namespace.path("events"))["items"]
        return [e for e in events if e["type"] == "Warning" and e["reason"] == "Failed"]

    events = namespace.until_true(told, "an event", seconds=100)
    assert "/no/such/program" in events[0]["message"]


@pytest.mark.cluster
def test_kubectl_debug_is_answered_and_costs_the_pod_nothing(
    control_plane: ControlPlane, namespace: Any, make_agent: Any, helpers: Any
) -> None:
    """Regression: it waited silently, and the next agent ended the pod because of it."""
    agent = make_agent("debugged")
    agent.start()
    namespace.agent = agent
    namespace.run("patient", helpers.shell("sleep 600"), nodeName="debugged")
    namespace.running("patient")
    path = namespace.path("pods", "patient") + "/ephemeralcontainers"
    added = [{"name": "debugger", "image": "test/python", "command": ["sh"]}]
    body = {"spec": {"ephemeralContainers": added}}
    control_plane.api.request("PATCH", path, body, "application/strategic-merge-patch+json")

    def told() -> Any:
        events = control_plane.api.get(namespace.path("events"))["items"]
        return [e for e in events if "'debugger' isn't started" in e["message"]]

    namespace.until_true(told, "an event", seconds=100)
    agent.stop()
    agent.start()
    restarted = namespace.until(
        "pods",
        "patient",
        lambda one: helpers.is_ready(one) and helpers.container_status(one)["restartCount"] > 0,
        seconds=100,
    )
    assert restarted["status"]["phase"] == "Running"
    agent.stop()
