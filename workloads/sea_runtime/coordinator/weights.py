"""The weight registry: versions are published, waited for, adopted."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from sea_api.v1alpha1.policy import Transport
from sea_api.v1alpha1.role_rules import engine_workers
from sea_api.v1alpha1.stages import Stage, StageType
from sea_api.v1alpha1.status import WeightsStatus, WrongWeightsStatus
from sea_runtime.coordinator import stage_plan, weight_manifests
from sea_runtime.coordinator.background import Notifiers
from sea_runtime.coordinator.errors import RefusedError, UnknownLayoutsError
from sea_runtime.coordinator.job import Job
from sea_runtime.coordinator.ledger import batches, registry
from sea_runtime.coordinator.ledger.database import Ledger
from sea_runtime.coordinator.membership import ROLLOUT, USER_ROLE, Membership
from sea_runtime.coordinator.relay import Relay
from sea_runtime.coordinator.run_record import time_text
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.transport import stored_versions
from sea_runtime.wire.membership import Heartbeat
from sea_runtime.wire.weights import (
    PEER,
    Adopted,
    EngineCopy,
    FetchCause,
    NotFetched,
    WeightQueryReply,
    WeightVersion,
    WrongWeights,
)

log = logging.getLogger(__name__)

WRONG = "wrong_weights"
"""Name of the ledger's document."""


def require_stream(stream: str) -> None:
    """Raises RefusedError for a stream that no job has."""
    if stream not in stage_plan.STREAMS:
        raise RefusedError(f"There is no weight stream '{stream}', only policy and user.")


class WeightRegistry:
    """Versions that were published, which of them an engine can fetch, and from whom."""

    def __init__(
        self,
        job: Job,
        ledger: Ledger,
        store: ObjectStore,
        membership: Membership,
        notifiers: Notifiers,
        wall: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._job, self._ledger, self._store = job, ledger, store
        self._membership, self._notifiers, self._wall = membership, notifiers, wall
        self._layouts_added = False
        self._storing = asyncio.Lock()
        self._relays = {
            stream: Relay(lambda pod: membership.get(pod) is not None, membership.is_gone, clock)
            for stream in stage_plan.STREAMS
        }

    def publish(self, version: WeightVersion) -> bool:
        """Registers a version and wakes the engines; False if it was known."""
        require_stream(version.stream)
        self._job.require_attempt(version.attempt)
        if missing := registry.missing_layouts(self._ledger.db, version):
            raise UnknownLayoutsError(f"Send the layouts {', '.join(missing)} first.")
        # Stored before the engines wake, which ask for it at once.
        new = registry.publish(self._ledger.db, version, self._wall())
        if self._layouts_added:
            # Only now: a trainer sends its layouts before the version that names them.
            self._layouts_added = False
            registry.forget_layouts(self._ledger.db)
        log.info("weights: %s v%d of attempt %d", version.stream, version.version, version.attempt)
        self._notifiers.weights.notify()
        self._notifiers.leases.notify()
        return new

    def newest(self, stream: str) -> int:
        """The largest version ever published; 0 while there is only the base model."""
        return registry.newest(self._ledger.db, stream)

    def published_steps(self, stage: Stage) -> int:
        """Versions that the running RL stage has published, of those whose batches are fixed.

        A restored ledger may know later ones, which are stored or were registered again. Counted,
        they would open the staleness gate too far, and ask engines for what nobody has.
        """
        newest = self.newest(stage_plan.stream_of(stage)) - self._job.first_version()
        return min(max(0, newest), batches.newest_step(self._ledger.db, stage.name))

    def required(self, stream: str) -> int:
        """Smallest version that an engine of the stream may serve."""
        stage, newest = self._job.stage, self.newest(stream)
        first = 0 if stage is None else self._job.first_version()
        if stage is not None and stage.type == StageType.RL and stream == stage_plan.POLICY:
            newest = first + self.published_steps(stage)
        return stage_plan.smallest_served(stage, stream, newest, first)

    def query(self, stream: str, after: int, pod: str = "") -> WeightQueryReply | None:
        """The newest version that an engine can fetch, None if it is not newer than `after`.

        Args:
            pod: of the engine, which also learns from whom to read; None means that it has to wait
                for a source as well. Empty: nobody reads.
        """
        newest = self._available(stream, after)
        if newest is None:
            return None
        offered = self._with_source(stream, newest, pod) if pod else newest
        if offered is None:
            return None
        anchor = registry.anchor(self._ledger.db, stream, self._job.attempt)
        # An anchor that the engine has passed, or that is `newest` itself, is no alternative.
        behind = anchor is not None and anchor.version > after and anchor != newest
        return WeightQueryReply(
            newest=offered,
            required=self.required(stream),
            anchor=anchor if behind else None,
            trained=self._is_trained(stream),
        )

    def _is_trained(self, stream: str) -> bool:
        """True from the start of the first stage that trains the stream's model."""
        stage = self._job.running_stage
        if stage is None or not stage_plan.trains(stage):
            return self.newest(stream) > 0
        return stage_plan.stream_of(stage) == stream or self.newest(stream) > 0

    def _available(self, stream: str, after: int) -> WeightVersion | None:
        """The largest version that the living attempt, the store or an engine has."""
        db, attempt = self._ledger.db, self._job.attempt
        newest = registry.reachable(db, stream, attempt, after)
        # An engine may hold a version whose trainer has gone, and that is in no store.
        passed = after if newest is None else newest.version
        return registry.held(db, stream, attempt, passed, self._relays[stream].copies()) or newest

    def _with_source(self, stream: str, version: WeightVersion, pod: str) -> WeightVersion | None:
        spec = self._job.desired.spec
        version = version.model_copy(update={"keep_cache": spec.weights.keep_cache})
        if not self._relayed:
            return version
        role = spec.user_model if stream == stage_plan.USER else spec.rollout
        ranks = sum(shard.nixl_agent is not None for shard in version.shards)
        found = self._relays[stream].assign(pod, version, ranks, engine_workers(role))
        return None if found is None else found.model_copy(update={"relay": True})

    def fetchable(self, stream: str) -> bool:
        """True if an engine that starts now needs no base model's weights."""
        return self._available(stream, 0) is not None

    @property
    def _relayed(self) -> bool:
        """False where engines may have nothing in common but the object store."""
        return self._job.desired.spec.weights.transport is not Transport.OBJECT_STORE

    def nothing_newer(self, stream: str, after: int = 0, pod: str = "") -> WeightQueryReply:
        """The answer to an engine that serves version `after`."""
        unknown = bool(pod) and after > 0 and not self._relays[stream].holds(pod, after)
        return WeightQueryReply(
            newest=None,
            required=self.required(stream),
            busy=self._available(stream, after) is not None,
            trained=self._is_trained(stream),
            announce=unknown and self._relayed,
        )

    def announce(self, stream: str, copy: EngineCopy) -> None:
        """An engine serves a version to others from now on."""
        require_stream(stream)
        self._relays[stream].announce(copy)
        self._notifiers.weights.notify()

    def follow(self, before: Heartbeat | None, beat: Heartbeat) -> None:
        """An engine that restarted holds nothing."""
        for relay in self._relays.values():
            relay.follow(before, beat)

    def adopted(self, stream: str, message: Adopted) -> None:
        """An engine serves a version now."""
        require_stream(stream)
        registry.add_adoption(self._ledger.db, stream, message, self._wall())
        self._forget_failed(stream, message)
        self._relays[stream].ended(message.pod, message.version)
        # Engines wait for a source that is free.
        self._notifiers.weights.notify()

    def unfetched(self, stream: str, message: NotFetched) -> None:
        """No source brought an engine the version that it was offered; it asks again."""
        require_stream(stream)
        self._forget_failed(stream, message)
        failed = {one.name for one in message.failed_sources if one.transport == PEER}
        self._relays[stream].unfetched(message.pod, message.version, message.attempt, failed)
        self._notifiers.weights.notify()

    def _forget_failed(self, stream: str, message: Adopted | NotFetched) -> None:
        """Peers that didn't deliver are named to nobody until they announce a version again."""
        for failed in message.failed_sources:
            log.warning(
                "weights: %s could not read v%d from %s %s (%s): %s",
                *(message.pod, message.version, failed.transport, failed.name),
                *(failed.cause, failed.reason),
            )
            if failed.transport != PEER:
                continue
            if failed.cause is FetchCause.DAMAGED:
                found = (message.pod, message.version, message.attempt)
                self._relays[stream].damaged(failed.name, *found)
            else:
                self._relays[stream].forget(failed.name)

    def wrong(self, stream: str, message: WrongWeights) -> None:
        """An engine held other weights than a version's, and restarts."""
        require_stream(stream)
        log.warning("weights: %s held wrong weights after v%d", message.pod, message.version)
        found = WrongWeightsStatus(
            pod=message.pod,
            version=message.version,
            tensors=message.tensors,
            time=time_text(self._wall()),
        )
        self._ledger.db.put_document(WRONG, found)

    def status(self) -> WeightsStatus:
        """The policy's newest version, and what the living engines serve."""
        beats = self._membership.alive(ROLLOUT)
        served = [beat.adopted or 0 for beat in beats]
        return WeightsStatus(
            published=self.newest(stage_plan.POLICY),
            adopted_min=min(served, default=0),
            adopted_max=max(served, default=0),
            engines=len(served),
            transport=transports(beats) or None,
            last_wrong=self._ledger.db.document(WRONG, WrongWeightsStatus),
        )

    async def store_manifest(self, version: WeightVersion) -> None:
        """Stores a version's entry next to its bytes, off the event loop.

        Raises:
            StaleError: a newer attempt has begun meanwhile.
        """
        # Read here: SQLite's connection refuses other threads.
        texts = registry.layout_texts(self._ledger.db, version)
        # One after another, and asked again then: a write of an ended attempt that hangs in an
        # outage must not land after one of the next, whose deltas name that one's number.
        async with self._storing:
            self._job.require_attempt(version.attempt)
            await asyncio.to_thread(self.keep_manifest, version, texts)

    def keep_manifest(self, version: WeightVersion, texts: Mapping[str, str] | None = None) -> None:
        """Stores a version's entry: engines find what a delta is based on, and a lost ledger finds
        the version again. Blocking.

        Args:
            texts: JSON of the layouts that it names, by digest.
        """
        run_url = self._job.desired.run_url
        url = stored_versions.manifest_url(run_url, version.stream, version.version)
        version = version.model_copy(update={"run_url": run_url})
        self._store.put(url, weight_manifests.expanded_json(version, texts or {}).encode())

    def must_be_stored(self, stream: str) -> bool:
        """True if a living engine of the stream can't read from other processes."""
        role = USER_ROLE if stream == stage_plan.USER else ROLLOUT
        return any(beat.unreachable for beat in self._membership.alive(role))

    def add_layout(self, digest: str, text: str) -> None:
        """Takes a layout that `weight_manifests.checked_layout` has checked."""
        registry.add_layout(self._ledger.db, digest, text)
        self._layouts_added = True

    def layout(self, digest: str) -> str:
        """Its JSON. Raises RefusedError if there is none of this digest."""
        found = registry.layout(self._ledger.db, digest)
        if found is None:
            raise RefusedError(f"There is no layout {digest}: ask for the newest version again.")
        return found


def transports(beats: Iterable[Heartbeat]) -> str:
    """How engines get their versions, in one line of at most 512 characters."""
    ways: dict[str, list[Heartbeat]] = {}
    for beat in beats:
        if beat.transport or beat.unreachable:
            ways.setdefault(beat.transport or "None", []).append(beat)
    parts = [f"{way}: {_engines(some)}" for way, some in sorted(ways.items())]
    return "; ".join(parts)[:512]


def _engines(beats: Sequence[Heartbeat]) -> str:
    count = f"{len(beats)} engine{'s' if len(beats) > 1 else ''}"
    first = next((beat for beat in beats if beat.unreachable), None)
    return f"{count} ({first.pod}: {first.unreachable})" if first else count
