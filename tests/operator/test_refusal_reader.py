"""Events are listed only for sets that lack pods for a while, and not again in each pass."""

from collections.abc import Callable
from typing import Any

import pytest

from sea_api.v1alpha1.elastic_status import ElasticRole, ElasticStatus
from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.status import Roles, RoleStatus
from sea_operator.errors import RejectedError
from sea_operator.observe import short_sets
from sea_operator.observed import Child
from sea_operator.refusal_reader import (
    AFTER_SECONDS,
    INTERVAL_SECONDS,
    MAX_SHARE,
    RefusalReader,
    ShortSet,
    current,
    newest,
)
from sea_testing.hand_clock import HandClock

JOB = ("n", "j")


class Server:
    """Events, as the API server lists them; keeps the queries."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.asked: list[dict[str, str]] = []
        self.refuses = False
        self.takes: Callable[[], None] = lambda: None

    async def request(self, method: str, path: str, query: Any) -> dict[str, Any]:
        self.asked.append({"path": path, **dict(query)})
        if self.refuses:
            raise RejectedError("events is forbidden")
        self.takes()
        return {"items": self.events}


def event(message: str, second: int = 0, uid: str = "uid-1") -> dict[str, Any]:
    time = f"2027-01-15T08:00:{second:02}Z"
    meta = {"metadata": {"creationTimestamp": time}, "involvedObject": {"uid": uid}}
    return {**meta, "lastTimestamp": time, "message": message}


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def reader(server: Server, clock: HandClock) -> RefusalReader:
    return RefusalReader(server, clock)  # type: ignore[arg-type]


SHORT = {"j-rollout": ShortSet("n", "uid-1", 0.0)}


async def test_a_set_is_asked_about_after_some_seconds_and_then_at_intervals(
    reader: RefusalReader, server: Server, clock: HandClock
) -> None:
    server.events = [event("no")]
    assert await reader.words(JOB, SHORT) == {}
    assert server.asked == []
    clock.now += AFTER_SECONDS
    assert await reader.words(JOB, SHORT) == {"j-rollout": "no"}
    (asked,) = server.asked
    assert asked["path"] == "/api/v1/namespaces/n/events"
    assert asked["fieldSelector"] == "involvedObject.kind=StatefulSet,reason=FailedCreate"
    assert int(asked["limit"]) <= 500
    clock.now += INTERVAL_SECONDS - 1
    assert await reader.words(JOB, SHORT) == {"j-rollout": "no"}
    assert len(server.asked) == 1
    clock.now += 1
    await reader.words(JOB, SHORT)
    assert len(server.asked) == 2


async def test_a_set_that_has_its_pods_costs_nothing_and_leaves_nothing(
    reader: RefusalReader, server: Server, clock: HandClock
) -> None:
    await reader.words(JOB, SHORT)
    clock.now += AFTER_SECONDS
    assert await reader.words(JOB, {}) == {}
    assert await reader.words(JOB, SHORT) == {}, "another lack counts from its own beginning"
    assert server.asked == []
    reader.forget(*JOB)
    assert reader._short_since == {}


async def test_all_jobs_of_a_namespace_share_one_list(
    reader: RefusalReader, server: Server, clock: HandClock
) -> None:
    """A list per set costs the API server all Events of the namespace each time."""
    server.events = [event(f"no {i}", uid=f"uid-{i}") for i in range(100)]
    jobs = {("n", f"j{i}"): {"set": ShortSet("n", f"uid-{i}", 0.0)} for i in range(100)}
    for job, short in jobs.items():
        await reader.words(job, short)
    clock.now += AFTER_SECONDS
    for i, (job, short) in enumerate(jobs.items()):
        assert await reader.words(job, short) == {"set": f"no {i}"}
    assert len(server.asked) == 1
    await reader.words(("other", "j"), SHORT)
    clock.now += AFTER_SECONDS
    await reader.words(("other", "j"), SHORT)
    assert len(server.asked) == 2
    for job in (*jobs, ("other", "j")):
        reader.forget(*job)
    assert reader._namespaces == {}


async def test_a_list_that_takes_long_comes_rarely(
    reader: RefusalReader, server: Server, clock: HandClock
) -> None:
    def take() -> None:
        clock.now += 4.0

    server.takes = take
    await reader.words(JOB, SHORT)
    clock.now += AFTER_SECONDS
    await reader.words(JOB, SHORT)
    clock.now += 4.0 / MAX_SHARE - 1.0
    await reader.words(JOB, SHORT)
    assert len(server.asked) == 1
    clock.now += 1.0
    await reader.words(JOB, SHORT)
    assert len(server.asked) == 2


async def test_a_pass_goes_on_without_the_right_to_list_events(
    reader: RefusalReader, server: Server, clock: HandClock
) -> None:
    server.refuses = True
    await reader.words(JOB, SHORT)
    clock.now += AFTER_SECONDS
    assert await reader.words(JOB, SHORT) == {"j-rollout": ""}, "it lacks pods, whyever"


@pytest.mark.parametrize(
    ("events", "newest_pod", "found"),
    [
        ([], 0.0, None),
        ([event("old", 1), event("new", 2)], 0.0, "new"),
        ([event("new", 2), event("old", 1)], 0.0, "new"),
        ([event("before the pod", 1)], 1799999999.0 + 86400 * 365, None),
        ([event("in the pod's second", 5)], 1800000005.7, "in the pod's second"),
    ],
)
def test_the_newest_refusal_counts_if_no_pod_was_made_after_it(
    events: list[dict[str, Any]], newest_pod: float, found: str | None
) -> None:
    short = ShortSet("n", "uid-1", newest_pod)
    assert current(newest(events).get("uid-1"), short) == found


@pytest.mark.parametrize(
    ("desired", "pods", "short"),
    [
        (0, 0, False),
        (1, 1, False),
        (1, 0, True),
        (2, 1, True),
    ],
)
@pytest.mark.parametrize("deleted", [None, 1.0])
def test_a_set_is_short_if_it_has_fewer_pods_than_the_last_status_asked_for(
    make: Any, desired: int, pods: int, short: bool, deleted: float | None
) -> None:
    """A pod that is being deleted still has its place."""
    roles = Roles(rollout=RoleStatus(desired=desired, ready=0))
    job = make.job(status=make.status(roles=roles))
    found = tuple(
        make.pod(f"j-rollout-{i}", Role.ROLLOUT, deleted=deleted, created=7.0) for i in range(pods)
    )
    child = Child("uid-1", b"{}", ((job.name, job.uid),))
    children = {("StatefulSet", "j-rollout"): child}
    expected = {"j-rollout": ShortSet("n", "uid-1", 7.0 if pods else 0.0)} if short else {}
    assert short_sets(job, children, found) == expected
    assert short_sets(job, {}, found) == {}, "a set that isn't there says nothing"
    others = {("StatefulSet", "j-rollout"): Child("uid-1", b"{}", ((job.name, "another"),))}
    assert short_sets(job, others, found) == {}, "nor does that of an earlier job"


@pytest.mark.parametrize(("desired", "short"), [(1, True), (0, False)])
def test_an_elastic_role_is_short_of_the_pods_that_it_tries(
    make: Any, desired: int, short: bool
) -> None:
    """Why they don't come is news; those of a role that a stage doesn't need aren't missing."""
    memory = ElasticRole(
        state="Reduced", size=1, asked=3, began_with=1, since="2027-01-15T08:00:00Z"
    )
    roles = Roles(rollout=RoleStatus(desired=desired, ready=0))
    job = make.job(status=make.status(roles=roles, elastic=ElasticStatus(rollout=memory)))
    found = (make.pod("j-rollout-0", Role.ROLLOUT),)
    children = {("StatefulSet", "j-rollout"): Child("uid-1", b"{}", ((job.name, job.uid),))}
    assert bool(short_sets(job, children, found)) is short
