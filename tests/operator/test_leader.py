"""The rules of the Lease, and an elector on a lease that lives in a dictionary."""

import asyncio
from typing import Any

import pytest

from sea_operator.errors import (
    ConflictError,
    NotFoundError,
    NotLeadingError,
    UnavailableError,
)
from sea_operator.leader import (
    Elector,
    Move,
    Sighting,
    held_by,
    micro_time,
    move,
    released,
    sighting,
)
from sea_operator.settings import LeaseTimes
from sea_testing.hand_clock import HandClock

TIMES = LeaseTimes(duration=10.0, deadline=7.0, retry=0.001)


def lease(holder: Any, duration: Any = 10) -> Any:
    return {"spec": {"holderIdentity": holder, "leaseDurationSeconds": duration}}


@pytest.mark.parametrize(
    ("holder", "age", "expected"),
    [
        (None, 0, Move.TAKE),
        ("", 0, Move.TAKE),
        ("me", 0, Move.RENEW),
        ("me", 99, Move.RENEW),
        ("other", 9.9, Move.WAIT),
        ("other", 10.1, Move.TAKE),
    ],
)
def test_move(holder: str | None, age: float, expected: Any) -> None:
    seen = None if holder is None else Sighting(lease(holder), since=100.0)
    assert move(seen, "me", 100.0 + age, TIMES) is expected


def test_the_holders_own_duration_counts() -> None:
    seen = Sighting(lease("other", duration=60), since=0.0)
    assert move(seen, "me", 59.0, TIMES) is Move.WAIT


def test_age_is_measured_since_we_first_saw_it_so() -> None:
    first = sighting(lease("a"), None, 1.0)
    assert sighting(lease("a"), first, 5.0).since == 1.0
    assert sighting(lease("b"), first, 5.0).since == 5.0


def test_taking_counts_a_transition_and_renewing_does_not() -> None:
    taken = held_by("me", Sighting(lease("a"), 0.0), 0.0, TIMES)
    assert (taken["leaseTransitions"], taken["acquireTime"]) == (1, micro_time(0.0))
    renewed = held_by("me", Sighting({"spec": taken}, 0.0), 5.0, TIMES)
    assert (renewed["leaseTransitions"], renewed["acquireTime"]) == (1, micro_time(0.0))
    assert renewed["renewTime"] == micro_time(5.0)
    assert released({"spec": renewed}, 6.0)["holderIdentity"] == ""


class Store:
    """A lease with resourceVersions, as the API server keeps it."""

    def __init__(self) -> None:
        self.record: Any = None
        self.down = False
        self.version = 0
        self.reads = 0

    async def get(self, kind: Any, namespace: Any, name: Any) -> Any:
        self._up()
        self.reads += 1
        if self.record is None:
            raise NotFoundError(name)
        return self.record

    async def create(self, kind: Any, namespace: Any, body: Any) -> Any:
        self._up()
        if self.record is not None:
            raise ConflictError("exists")
        return self._keep(body)

    async def replace(self, kind: Any, body: Any) -> Any:
        self._up()
        if self.record is None:
            raise NotFoundError("gone")
        if body["metadata"]["resourceVersion"] != self.record["metadata"]["resourceVersion"]:
            raise ConflictError("changed")
        return self._keep(body)

    def _keep(self, body: Any) -> Any:
        self.version += 1
        meta = {**body["metadata"], "resourceVersion": str(self.version)}
        self.record = {**body, "metadata": meta}
        return self.record

    def _up(self) -> None:
        if self.down:
            raise UnavailableError("down")


def elector(store: Any, name: Any, time: Any) -> Any:
    return Elector(store, "n", name, monotonic=time, wall=time, random=lambda: 0.5, times=TIMES)


@pytest.fixture
def time() -> Any:
    return HandClock()


@pytest.fixture
def store() -> Any:
    return Store()


async def test_a_holder_renews_with_one_request(store: Any, time: Any) -> None:
    one = elector(store, "one", time)
    await one._round()
    for _ in range(5):
        time.now += 6
        await one._round()
        assert one.leads
    assert store.reads == 1


@pytest.mark.parametrize("change", ["labelled", "deleted"])
async def test_a_holder_whose_lease_was_touched_goes_on(store: Any, time: Any, change: str) -> None:
    one = elector(store, "one", time)
    await one._round()
    if change == "deleted":
        store.record = None
    else:
        store._keep({**store.record, "metadata": {"name": "l", "labels": {"a": "b"}}})
    time.now += 6
    await one._round()
    time.now += 6
    assert one.leads
    assert store.record["spec"]["holderIdentity"] == "one"


async def test_the_lease_may_be_lost_while_another_thread_asks_for_it(store: Any) -> None:
    """As a clock that is looked at between two looks at the elector."""

    def lost_meanwhile() -> float:
        one._renewed = None
        return 0.0

    one = elector(store, "one", lost_meanwhile)
    one._renewed = 0.0
    assert one.leads
    assert not one.leads


async def test_the_first_leads_at_once_and_the_second_waits(store: Any, time: Any) -> None:
    one, two = elector(store, "one", time), elector(store, "two", time)
    await one._round()
    await two._round()
    assert (one.leads, two.leads) == (True, False)
    one.check()
    with pytest.raises(NotLeadingError, match="two no longer holds Lease n/sea-operator"):
        two.check()


async def test_a_dead_leader_is_followed_after_the_duration(store: Any, time: Any) -> None:
    one, two = elector(store, "one", time), elector(store, "two", time)
    await one._round()
    await two._round()
    time.now += 10.0
    await two._round()
    assert not two.leads
    time.now += 0.1
    await two._round()
    assert two.leads
    await one._round()
    assert not one.leads, "the old leader sees that it was followed"


async def test_a_leader_that_cannot_renew_stops_before_others_may_start(
    store: Any, time: Any
) -> None:
    one, two = elector(store, "one", time), elector(store, "two", time)
    await one._round()
    await two._round()
    store.down = True
    time.now += 6.9
    await one._round()
    assert one.leads
    time.now += 0.2
    assert not one.leads
    store.down = False
    await two._round()
    assert not two.leads, "there is a gap in which nobody leads, never one with two"


async def test_the_same_identity_goes_on_without_a_wait(store: Any, time: Any) -> None:
    await elector(store, "pod-0", time)._round()
    again = elector(store, "pod-0", time)
    await again._round()
    assert again.leads


async def test_a_clean_end_gives_the_lease_back(store: Any, time: Any) -> None:
    one = elector(store, "one", time)
    task = asyncio.create_task(one.run())
    await asyncio.wait_for(one.wait(), 120)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert store.record["spec"]["holderIdentity"] == ""
    two = elector(store, "two", time)
    await two._round()
    assert two.leads


class CutOff(Store):
    """From `cut` on a write is stored, and its answer never comes."""

    def __init__(self) -> None:
        super().__init__()
        self.cut = False
        self.stored = asyncio.Event()

    async def create(self, kind: Any, namespace: Any, body: Any) -> Any:
        return await self._answer(await super().create(kind, namespace, body))

    async def replace(self, kind: Any, body: Any) -> Any:
        return await self._answer(await super().replace(kind, body))

    async def _answer(self, record: Any) -> Any:
        if self.cut:
            self.cut = False
            self.stored.set()
            await asyncio.Event().wait()
        return record


async def test_a_clean_end_in_the_middle_of_a_renewal_gives_the_lease_back_too(time: Any) -> None:
    store = CutOff()
    one = elector(store, "one", time)
    task = asyncio.create_task(one.run())
    await asyncio.wait_for(one.wait(), 120)
    store.cut = True
    await asyncio.wait_for(store.stored.wait(), 120)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert store.record["spec"]["holderIdentity"] == ""


async def test_a_clean_end_in_the_middle_of_the_first_take_gives_the_lease_back_too(
    time: Any,
) -> None:
    store = CutOff()
    store.cut = True
    one = elector(store, "one", time)
    task = asyncio.create_task(one.run())
    await asyncio.wait_for(store.stored.wait(), 120)
    assert not one.leads
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert store.record["spec"]["holderIdentity"] == ""


async def test_a_standby_that_never_asked_leaves_the_lease_alone(store: Any, time: Any) -> None:
    one, two = elector(store, "one", time), elector(store, "two", time)
    await one._round()
    await two._round()
    await two._release()
    assert store.record["spec"]["holderIdentity"] == "one"


async def test_the_gate_closes_and_opens_with_the_lease(store: Any, time: Any) -> None:
    one = elector(store, "one", time)
    await one._round()
    await asyncio.wait_for(one.wait(), 120)
    time.now += 8
    waiter = asyncio.create_task(one.wait())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiter.done()
    await one._round()
    await asyncio.wait_for(waiter, 120)


async def test_a_pass_of_an_earlier_term_writes_no_more(store: Any, time: Any) -> None:
    one, two = elector(store, "one", time), elector(store, "two", time)
    await one._round()
    await one.wait()
    one.check()
    await two._round()
    time.now += 10.1
    await two._round()
    await two._release()
    await one._round()
    assert one.leads
    with pytest.raises(NotLeadingError):
        one.check()
    await one.wait()
    one.check()


async def test_a_lapse_in_which_nobody_followed_stops_no_pass_for_good(
    store: Any, time: Any
) -> None:
    one = elector(store, "one", time)
    await one._round()
    await one.wait()
    time.now += 8
    with pytest.raises(NotLeadingError):
        one.check()
    await one._round()
    one.check()
