"""Logs go from the API server to the coordinator, once each, and hold nothing up."""

import asyncio
import dataclasses
from typing import Any

import pytest

from sea_api.contract import LOG_BYTES
from sea_api.v1alpha1.policy import Role
from sea_operator import log_keeper
from sea_operator.coordinator_spec import run_url
from sea_operator.errors import CoordinatorRefusedError, RejectedError, UnavailableError
from sea_operator.kube.client import POD
from sea_operator.log_keeper import MAX_TRIES, LogKeeper
from sea_operator.observed import Observed
from sea_operator.plan import Lifecycle, Plan, Removal
from sea_operator.pods import Termination
from sea_operator.policies import last_logs
from sea_operator.policies.last_logs import LastLog, of_failed

KEY = ("n", "j")
ENDED = Termination("engine", 1, "Error", restarts=1, finished="t1", previous=True)
PATH = "logs/j-rollout-0/engine.attempt-1.failed.log"


class Server:
    """Says `texts` in turn, and the last one for ever."""

    def __init__(self, *texts: Any) -> None:
        self.texts, self.reads = list(texts), 0

    async def log(
        self, namespace: str, pod: str, container: str, *, previous: bool, lines: int
    ) -> bytes:
        self.reads += 1
        said = self.texts.pop(0) if len(self.texts) > 1 else self.texts[0]
        if isinstance(said, Exception):
            raise said
        if said is None:
            await asyncio.Event().wait()
        return bytes(said)

    def check(self) -> None:
        """It always leads."""


class Link:
    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}

    async def keep_log(self, job: Any, pods: Any, token: str, one: LastLog, text: bytes) -> None:
        self.stored[one.path] = text


def keeper(server: Any, link: Any = None) -> LogKeeper:
    used: Any = link or Link()
    return LogKeeper(server, used)


@pytest.fixture
def observed(make: Any) -> Observed:
    pods = (make.pod("j-rollout-0", Role.ROLLOUT, terminations=(ENDED,)),)
    world: Observed = make.observed(pods=pods)
    return world


async def test_a_failed_containers_log_is_stored_once_and_its_place_is_known(
    observed: Observed,
) -> None:
    server, link = Server(b"Boom.\n"), Link()
    keeps = keeper(server, link)
    assert observed.job.spec is not None
    place = f"{run_url(observed.job, observed.job.spec)}/{PATH}"
    for _ in range(3):
        assert (await keeps.with_failed(observed)).logs == {"j-rollout-0": place}
    assert link.stored == {PATH: b"Boom.\n"}
    assert server.reads == 1
    assert not keeps.waits(KEY)
    keeps.forget(KEY)
    await keeps.with_failed(observed)
    assert server.reads == 2, "a new operator starts over"


async def test_of_a_long_log_the_end_is_stored(
    observed: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_keeper, "MAX_LOG_BYTES", LOG_BYTES + 10)
    cut, whole = b"x" * (LOG_BYTES + 10), b"y" * LOG_BYTES + b"the end"
    link = Link()
    await keeper(Server(cut, whole), link).with_failed(observed)
    assert link.stored[PATH].endswith(b"the end")
    assert len(link.stored[PATH]) == LOG_BYTES


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (RejectedError("403: pods/log is forbidden"), 1),
        (UnavailableError("the kubelet doesn't answer"), MAX_TRIES),
    ],
)
async def test_a_log_that_can_not_be_read_is_given_up(
    observed: Observed, error: Exception, tries: int, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(error)
    keeps = keeper(server)
    for attempt in range(MAX_TRIES + 2):
        assert (await keeps.with_failed(observed)).logs == {}
        assert keeps.waits(KEY) == (attempt + 1 < tries)
    assert server.reads == tries
    assert str(error) in caplog.text


async def test_a_kubelet_that_hangs_holds_a_pass_up_for_a_bounded_time(
    observed: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_keeper, "MAX_SECONDS", 0.01)
    server = Server(None)
    keeps = keeper(server)
    for _ in range(MAX_TRIES + 2):
        await keeps.with_failed(observed)
    assert server.reads == MAX_TRIES
    assert not keeps.waits(KEY)


async def test_a_coordinator_that_is_away_is_asked_again(observed: Observed, make: Any) -> None:
    class Away(Link):
        async def keep_log(self, *_: Any) -> None:
            raise CoordinatorRefusedError("404: an older release")

    server = Server(b"Boom.")
    keeps = keeper(server, Away())
    assert (await keeps.with_failed(observed)).logs == {}
    assert keeps.waits(KEY)
    silent = make.observed(pods=observed.pods, state=None)
    await keeps.with_failed(silent)
    assert server.reads == 1, "without a coordinator nothing is read"


async def test_of_an_evicted_pod_the_end_is_named_until_the_next_attempt(make: Any) -> None:
    leaving = make.pod("j-trainer-0", Role.TRAINER, deleted=make.now + 5)
    state = make.state(attempt=1)
    keeps = keeper(Server(b"Boom."))
    known = await keeps.with_failed(make.observed(pods=(leaving,), state=state))
    assert known.logs["j-trainer-0"].endswith("logs/j-trainer-0/trainer.attempt-1.log")
    later = make.observed(pods=(), state=make.state(attempt=2))
    assert (await keeps.with_failed(later)).logs == {}


@pytest.mark.parametrize(
    ("failures", "kept"), [(0, True), (MAX_TRIES - 1, True), (MAX_TRIES, False)]
)
async def test_the_last_log_of_a_pod_that_goes_is_tried_again_before_it_goes(
    make: Any, monkeypatch: pytest.MonkeyPatch, failures: int, kept: bool
) -> None:
    monkeypatch.setattr(log_keeper, "RETRY_SECONDS", 0.0)
    server = Server(*[UnavailableError("slow")] * failures, b"Done.")
    link, observed = Link(), make.observed()
    gone = Plan(Lifecycle(attempt=7), removals=(Removal(POD, "j-trainer-0", "uid-j-trainer-0"),))
    keeps = keeper(server, link)
    await keeps.keep_going(observed, gone)
    assert server.reads == min(failures + 1, MAX_TRIES)
    assert bool(link.stored) == kept
    assert not keeps.waits(KEY)


async def test_the_last_log_of_a_kubelet_that_hangs_is_given_up_with_its_pod(
    make: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(log_keeper, "MAX_SECONDS", 0.05)
    monkeypatch.setattr(log_keeper, "RETRY_SECONDS", 0.0)
    server, observed = Server(UnavailableError("slow"), None), make.observed()
    gone = Plan(Lifecycle(attempt=7), removals=(Removal(POD, "j-trainer-0", "uid-j-trainer-0"),))
    keeps = keeper(server)
    await keeps.keep_going(observed, gone)
    assert not keeps.waits(KEY), "no later pass sees the pod"
    assert "of pod j-trainer-0 is lost" in caplog.text
    await keeps.keep_going(observed, gone)
    assert server.reads == 2


async def test_without_a_coordinator_no_last_log_is_waited_for(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_keeper, "RETRY_SECONDS", 0.0)
    observed = make.observed()
    gone = Plan(Lifecycle(attempt=7), removals=(Removal(POD, "j-trainer-0", "uid-j-trainer-0"),))
    keeps = keeper(Server(UnavailableError("slow")))
    await keeps.keep(observed, last_logs.of_going(observed, gone))
    assert keeps.waits(KEY)
    silent = dataclasses.replace(observed, state=None)
    await asyncio.wait_for(keeps.keep_going(silent, gone), 5)


async def test_an_attempts_failure_is_named_with_its_log(make: Any) -> None:
    state = make.state(trainer_failure=make.failure())
    observed = make.observed(state=state)
    known = await keeper(Server(b"Boom.")).with_failed(observed)
    assert set(known.logs) == {"j-trainer-0", "j-trainer-1"}
    assert len(of_failed(observed, 1)) == 2
