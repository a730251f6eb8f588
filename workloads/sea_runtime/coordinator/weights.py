"""The weight registry: versions are published, waited for, adopted."""

import json
import logging
from collections.abc import Callable

from sea_api.v1alpha1.stages import Stage, StageType
from sea_api.v1alpha1.status import WeightsStatus, WrongWeightsStatus
from sea_data import urls
from sea_runtime.coordinator import stage_plan
from sea_runtime.coordinator.background import Notifiers
from sea_runtime.coordinator.errors import RefusedError
from sea_runtime.coordinator.job import Job
from sea_runtime.coordinator.ledger import batches, registry
from sea_runtime.coordinator.ledger.database import Ledger
from sea_runtime.coordinator.membership import ROLLOUT, Membership
from sea_runtime.coordinator.run_record import time_text
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.wire.weights import Adopted, WeightQueryReply, WeightVersion, WrongWeights

log = logging.getLogger(__name__)

MANIFEST = "registry.json"
WRONG = "wrong_weights"
"""Name of the ledger's document."""


def require_stream(stream: str) -> None:
    """Raises RefusedError for a stream that no job has."""
    if stream not in stage_plan.STREAMS:
        raise RefusedError(f"There is no weight stream '{stream}', only policy and user.")


class WeightRegistry:
    """Versions that were published, and which of them an engine can fetch."""

    def __init__(
        self,
        job: Job,
        ledger: Ledger,
        store: ObjectStore,
        membership: Membership,
        notifiers: Notifiers,
        wall: Callable[[], float],
    ) -> None:
        self._job, self._ledger, self._store = job, ledger, store
        self._membership, self._notifiers, self._wall = membership, notifiers, wall

    def publish(self, version: WeightVersion) -> bool:
        """Registers a version and wakes the engines; False if it was known."""
        require_stream(version.stream)
        self._job.require_attempt(version.attempt)
        # Stored before the engines wake, which ask for it at once.
        new = registry.publish(self._ledger.db, version, self._wall())
        log.info("weights: %s v%d of attempt %d", version.stream, version.version, version.attempt)
        self._notifiers.weights.notify()
        self._notifiers.leases.notify()
        return new

    def newest(self, stream: str) -> int:
        """The largest version ever published; 0 while there is only the base model."""
        return registry.newest(self._ledger.db, stream)

    def published_steps(self, stage: Stage) -> int:
        """Versions that the running RL stage has published, of those whose batches are fixed.

        A restored ledger may know later ones, by their copies in the object store or because the
        trainer registered them again. Training goes back behind them, so counting them would let
        the staleness gate open too far, and would ask engines for versions that nobody has.
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

    def query(self, stream: str, after: int) -> WeightQueryReply | None:
        """The newest version that an engine can fetch, None if it is not newer than `after`."""
        db = self._ledger.db
        newest = registry.reachable(db, stream, self._job.attempt, after)
        if newest is None:
            return None
        anchor = registry.anchor(db, stream, self._job.attempt)
        # An anchor that the engine has passed, or that is `newest` itself, is no alternative.
        behind = anchor is not None and anchor.version > after and anchor != newest
        return WeightQueryReply(
            newest=newest, required=self.required(stream), anchor=anchor if behind else None
        )

    def nothing_newer(self, stream: str) -> WeightQueryReply:
        return WeightQueryReply(newest=None, required=self.required(stream))

    def adopted(self, stream: str, message: Adopted) -> None:
        """An engine serves a version now."""
        require_stream(stream)
        registry.add_adoption(self._ledger.db, stream, message, self._wall())

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
        """Of the policy: newest version and what the living engines serve."""
        served = [beat.adopted or 0 for beat in self._membership.alive(ROLLOUT)]
        return WeightsStatus(
            published=self.newest(stage_plan.POLICY),
            adopted_min=min(served, default=0),
            adopted_max=max(served, default=0),
            engines=len(served),
            last_wrong=self._ledger.db.document(WRONG, WrongWeightsStatus),
        )

    def keep_anchor(self, version: WeightVersion) -> None:
        """Stores an anchor's entry next to its bytes: a lost ledger finds it again. Blocking."""
        url = manifest_url(self._job.desired.run_url, version.stream, version.version)
        self._store.put(url, version.model_dump_json().encode())


def manifest_url(run_url: str, stream: str, version: int) -> str:
    return urls.join(run_url, "weights", stream, f"v{version:06d}", MANIFEST)


def read_anchors(store: ObjectStore, run_url: str) -> list[WeightVersion]:
    """All anchors that the object store knows, oldest first. Blocking."""
    found = [
        WeightVersion.model_validate(json.loads(store.get(item.url)))
        for stream in stage_plan.STREAMS
        for item in store.list(urls.folder(urls.join(run_url, "weights", stream)))
        # A kill before `keep_anchor` leaves shards without a manifest: they
        # are not listed as an anchor.
        if item.url.endswith("/" + MANIFEST)
    ]
    return sorted(found, key=lambda version: version.version)
