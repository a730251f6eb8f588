"""What the API server answers a deletion, and what the cache knows afterwards."""

import asyncio
from typing import Any

import pytest

from sea_operator.action_backoff import ActionBackoff
from sea_operator.apply import REMOVALS, Actions, _all
from sea_operator.cache import Cache
from sea_operator.coordinator_link import CoordinatorLink
from sea_operator.errors import ConflictError, NotFoundError
from sea_operator.kube.client import JOB, POD, TIMEOUT_SECONDS
from sea_operator.node_reader import NodeReader
from sea_operator.observe import Sources
from sea_operator.plan import Lifecycle, Plan, Removal
from sea_operator.refusal_reader import RefusalReader
from sea_operator.secret_reader import SecretReader
from sea_operator.workers import PASS_TIMEOUT_SECONDS

NAME = "j-trainer-0"
LABELS = {"sea-operator.io/job": "j", "sea-operator.io/role": "trainer"}
BORN = "2027-01-15T08:00:00Z"


def pod(version: int, **meta: Any) -> dict[str, Any]:
    named = {"name": NAME, "namespace": "n", "uid": "uid-p", "labels": LABELS}
    times = {"creationTimestamp": BORN, "resourceVersion": str(version)}
    return {"kind": "Pod", "metadata": {**named, **times, **meta}, "status": {}}


class Server:
    """Answers each deletion with `answer`, or raises it."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def delete(self, *_: Any) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "left", "deleting"),
    [
        ({"kind": "Status", "status": "Success"}, 0, False),
        (pod(7), 0, False),
        (pod(7, deletionTimestamp=BORN, deletionGracePeriodSeconds=0), 0, False),
        (pod(7, deletionTimestamp=BORN, deletionGracePeriodSeconds=30), 1, True),
        (
            pod(7, deletionTimestamp=BORN, deletionGracePeriodSeconds=0, finalizers=["x"]),
            1,
            True,
        ),
        (NotFoundError("gone"), 0, False),
        (ConflictError("another uid"), 0, False),
    ],
)
async def test_the_cache_knows_what_a_deletion_left(
    make: Any, answer: Any, left: int, deleting: bool
) -> None:
    cache = Cache(lambda key: None)
    meta = {"name": "j", "namespace": "n", "uid": make.uid, "generation": 1}
    cache.put(JOB, {"metadata": {**meta, "resourceVersion": "1"}, "spec": make.raw_spec()})
    cache.put(POD, pod(5))
    server: Any = Server(answer)
    link: Any = CoordinatorLink
    sources = Sources(
        server,
        cache,
        SecretReader(server, lambda: 0.0),
        link,
        RefusalReader(server, lambda: 0.0),
        NodeReader(server, lambda: 0.0),
    )
    plan = Plan(Lifecycle(), removals=(Removal(POD, NAME, "uid-p"),))
    backoff = ActionBackoff(lambda: 0.0)

    async def is_current() -> bool:
        return True

    await Actions(sources, make.observed(), backoff, is_current).before_status(plan)
    assert backoff.blockers == ()
    view = cache.view(("n", "j"))
    assert view is not None
    assert [one.deleted is not None for one in view.pods] == [deleting] * left


async def test_a_pass_sends_few_requests_at_one_time() -> None:
    """Each further one costs a connection; all of them end, whatever one of them raises."""
    now = most = 0
    ended: list[int] = []

    async def request(number: int) -> int:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        ended.append(number)
        if number == 3:
            raise ConflictError("changed")
        return number

    assert await _all((request(number) for number in range(3)), 2) == [0, 1, 2]
    with pytest.raises(ConflictError):
        await _all((request(number) for number in range(9)), 2)
    assert most == 2
    assert sorted(ended) == sorted([*range(3), *range(9)])


def test_hundreds_of_deletions_that_hang_end_within_a_pass() -> None:
    """Two at one time, those of 64 pods would take longer, and no status would ever be written."""
    assert 128 / REMOVALS * TIMEOUT_SECONDS < PASS_TIMEOUT_SECONDS
