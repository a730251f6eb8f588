"""Holds the Lease: exactly one operator acts, and it knows by its own clock when it no longer may.

The leader that can't renew stops after `deadline` seconds, before `duration` lets others follow.
Passes start only behind `Elector.wait`; every write asks `Elector.check`. As in client-go, a
record's age is measured on our own clock since we first saw it, so clocks of two machines never
have to agree.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from sea_operator.errors import ConflictError, KubeError, NotFoundError, NotLeadingError
from sea_operator.kube.client import LEASE, KubeClient
from sea_operator.settings import LeaseTimes

log = logging.getLogger(__name__)

NAME = "sea-operator"
RELEASE_SECONDS = 10.0
"""A pod's grace period is longer, and an API server that is gone refuses at once."""


class Move(Enum):
    """What to do about the lease now."""

    TAKE = "Take"
    RENEW = "Renew"
    WAIT = "Wait"


@dataclass(frozen=True)
class Sighting:
    """A lease as read, and since when it has been as it is."""

    record: dict[str, Any]
    """The Lease object."""
    since: float
    """Monotonic seconds."""

    @property
    def holder(self) -> str:
        """Identity of the holder, empty when released."""
        return str(self.record.get("spec", {}).get("holderIdentity") or "")


def sighting(record: dict[str, Any], before: Sighting | None, now: float) -> Sighting:
    """Keeps the time of the first sighting while the lease doesn't change."""
    # The spec alone: a change of metadata (a label, managed fields) is no renewal by the holder.
    if before is not None and before.record.get("spec") == record.get("spec"):
        return Sighting(record, before.since)
    return Sighting(record, now)


def move(seen: Sighting | None, me: str, now: float, times: LeaseTimes) -> Move:
    """A lease may be taken if it has no holder or its holder stopped renewing."""
    if seen is None or not seen.holder:
        return Move.TAKE
    # Also after a restart under the same identity, without waiting for our own lease to expire.
    if seen.holder == me:
        return Move.RENEW
    duration = seen.record["spec"].get("leaseDurationSeconds", times.duration)
    # The holder's own duration, not ours: it may run with other times during an upgrade.
    return Move.TAKE if now - seen.since > float(duration) else Move.WAIT


def held_by(me: str, seen: Sighting | None, wall: float, times: LeaseTimes) -> dict[str, Any]:
    """Spec of the lease once it's ours; `wall` in unix seconds."""
    old = seen.record.get("spec", {}) if seen else {}
    mine = old.get("holderIdentity") == me
    at = micro_time(wall)
    return {
        "holderIdentity": me,
        "leaseDurationSeconds": int(times.duration),
        "acquireTime": old.get("acquireTime", at) if mine else at,
        "renewTime": at,
        "leaseTransitions": int(old.get("leaseTransitions") or 0) + (0 if mine else 1),
    }


def released(record: dict[str, Any], wall: float) -> dict[str, Any]:
    """Spec of a lease given back, so that the next one needn't wait."""
    at = micro_time(wall)
    return {**record.get("spec", {}), "holderIdentity": "", "renewTime": at}


def micro_time(seconds: float) -> str:
    """Kubernetes' MicroTime."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Elector:
    """One candidate. Clocks and randomness are injected: `monotonic` and `wall` in seconds."""

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        identity: str,
        *,
        name: str = NAME,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        random: Callable[[], float],
        times: LeaseTimes | None = None,
        moves: Callable[[], bool] = lambda: True,
        tell: Callable[[Callable[[], None]], object] = lambda call: call(),
    ) -> None:
        """`moves`: whether the process that acts under the lease still does; it is not renewed for
        one that hangs. `tell`: calls in the loop that `wait` is used in."""
        self._client = client
        self._namespace = namespace
        self._name = name
        self._me = identity
        self._monotonic = monotonic
        self._wall = wall
        self._random = random
        self._times = times or LeaseTimes()
        self._moves, self._tell = moves, tell
        self._seen: Sighting | None = None
        self._renewed: float | None = None
        self._asked = False
        self._term = 0
        # Per task: the term in which it passed `wait`, None if it never did.
        self._began_in: ContextVar[int | None] = ContextVar("began_in", default=None)
        self._leading = asyncio.Event()

    @property
    def leads(self) -> bool:
        """Whether our lease is fresh enough to act on."""
        # Once: another thread (`lease_thread.py`) may set it to None between two looks.
        renewed = self._renewed
        return renewed is not None and self._monotonic() - renewed < self._times.deadline

    async def wait(self) -> None:
        """Waits until this process leads."""
        while not self.leads:
            # `_notice` runs once per round, so the event may be late by a
            # round: `leads` is what counts.
            await self._leading.wait()
            if not self.leads:
                self._leading.clear()
        self._began_in.set(self._term)

    def check(self) -> None:
        """Raises `NotLeadingError` unless our lease is fresh and the one this task waited for.

        Asked before every write, since a pass can outlive the lease that it began under. Between
        the check and the write's effect `duration - deadline` seconds remain, which the request's
        time-out doesn't guarantee; uid and resourceVersion preconditions cover the rest.

        A pass that hung while another led, and we again after it, observed a state from before.
        """
        if not self.leads or self._began_in.get() not in (None, self._term):
            raise NotLeadingError(
                f"{self._me} no longer holds Lease {self._namespace}/{self._name}; another "
                "operator may be acting, so this write is not sent."
            )

    async def run(self) -> None:
        """Takes part in the election until cancelled, then gives the lease back."""
        try:
            while True:
                await self._round()
                await asyncio.sleep(self._pause())
        finally:
            await self._release()

    async def _round(self) -> None:
        """Reads the lease and tries to hold it; errors of the API server are retried next round."""
        if not self._moves():
            log.error("lease: the passes' loop hangs, so the lease is not renewed")
            self._notice()
            return
        try:
            # Leaves time for another round before the deadline if this one hangs.
            async with asyncio.timeout(self._times.deadline / 2):
                await self._look_and_act()
        except (KubeError, TimeoutError) as error:
            log.warning("lease: %s", str(error) or "the API server or this process is slow")
        self._notice()

    async def _look_and_act(self) -> None:
        # A holder writes over the record that it wrote last, without a read before it: half the
        # requests, and on an API server that is slow half the time.
        if self.leads and await self._held():
            return
        asked = self._monotonic()
        self._seen = await self._look()
        # Another holds it: what we renewed before no longer counts.
        if move(self._seen, self._me, asked, self._times) is Move.WAIT:
            self._renewed = None
            return
        try:
            await self._hold()
        except ConflictError:
            # Another candidate was faster. Not leading is the safe answer until the next read.
            self._renewed = None

    async def _held(self) -> bool:
        """Renews; False if the lease was deleted or changed since, perhaps its metadata alone."""
        try:
            await self._hold()
        except (ConflictError, NotFoundError):
            return False
        return True

    async def _hold(self) -> None:
        """Takes or renews the lease as it was seen. Raises `KubeError`."""
        asked = self._monotonic()
        self._asked = True
        record = await self._write(held_by(self._me, self._seen, self._wall(), self._times))
        self._seen = sighting(record, self._seen, asked)
        # Unlike a lapse in which nobody followed, each change of the holder counts here. Before
        # `_renewed`: no other thread may see the new lease with the old term.
        self._term = int(record["spec"]["leaseTransitions"])
        # Renewed as of before the request, the earliest time at which it may have taken effect: on
        # the other machine the lease may expire that much earlier than the answer came.
        self._renewed = asked

    async def _look(self) -> Sighting | None:
        try:
            record = await self._client.get(LEASE, self._namespace, self._name)
        except NotFoundError:
            return None
        return sighting(record, self._seen, self._monotonic())

    async def _write(self, spec: dict[str, Any]) -> dict[str, Any]:
        if self._seen is None:
            meta: dict[str, Any] = {"name": self._name, "namespace": self._namespace}
            return await self._client.create(LEASE, self._namespace, _lease(meta, spec))
        # The precondition of the election: of two candidates that saw the same record one gets 409.
        version = self._seen.record["metadata"]["resourceVersion"]
        meta = {"name": self._name, "namespace": self._namespace, "resourceVersion": version}
        return await self._client.replace(LEASE, _lease(meta, spec))

    def _notice(self) -> None:
        """Opens or closes the gate; logs only changes."""
        was = self._leading.is_set()
        if self.leads and not was:
            log.info("leading", extra={"identity": self._me})
            self._tell(self._leading.set)
        elif was and not self.leads:
            log.warning("no longer leading", extra={"identity": self._me})
            self._tell(self._leading.clear)

    def _pause(self) -> float:
        """Jitter keeps two candidates from asking at the same moments forever."""
        return self._times.retry * (0.8 + 0.4 * self._random())

    async def _release(self) -> None:
        """On a clean shutdown the successor needn't wait for the lease to expire."""
        # Not `leads`: a first take that was cut off may have arrived.
        if not self._asked:
            return
        # First: from here on the guard refuses every write, also those of passes that are still
        # being cancelled. Giving the lease back before that would let two operators write.
        self._renewed = None
        with contextlib.suppress(KubeError, TimeoutError):
            async with asyncio.timeout(RELEASE_SECONDS):
                while not await self._given_back():
                    continue

    async def _given_back(self) -> bool:
        """False if the lease changed meanwhile: a renewal that was cut off may have arrived."""
        self._seen = await self._look()
        if self._seen is None or self._seen.holder != self._me:
            return True
        try:
            await self._write(released(self._seen.record, self._wall()))
        except ConflictError:
            return False
        return True


def _lease(meta: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": LEASE.api_version, "kind": LEASE.name, "metadata": meta, "spec": spec}
