"""Publishes weight versions: packs this rank's tensors into a host buffer that engines read.

After every RL step and at a stage's end each rank packs its share of the tensors, in Hugging Face
naming (no rank has all of them), and rank 0 gathers the shards' descriptions and registers them
with the coordinator. Nobody waits for engines. Every `anchorEvery` versions and at a stage's end
the same bytes also go to S3, as an anchor. Where engines read from S3, for transport ObjectStore or
as the coordinator says, every version goes there: between two anchors as deltas (`delta_upload`).
"""

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass

from sea_api.v1alpha1.policy import Transport, Weights
from sea_data import urls
from sea_data.object_store import StoreError, StoreUnavailableError
from sea_runtime.trainer import background, delta_upload
from sea_runtime.trainer.context import RankContext
from sea_runtime.trainer.delta_upload import Packed
from sea_runtime.trainer.hf_weights import iter_published
from sea_runtime.trainer.model import Model
from sea_runtime.trainer.shard_buffers import ShardBuffers, StreamBuffers, buffers_of
from sea_runtime.trainer.weight_retention import Retention
from sea_runtime.transport import stored_versions
from sea_runtime.transport.stored_versions import StoredVersionError
from sea_runtime.wire.trainer import TrainerTask
from sea_runtime.wire.weights import Shard, ShardDelta, WeightVersion

log = logging.getLogger(__name__)
# Below every watch of a silent process: `finish` reports that it is alive between two waits.
WAIT_SECONDS = 5.0
REFUSED_SECONDS = 300.0
"""After which an upload that engines wait for, and that the store refused, is tried again."""
_UPLOADED, _RUNNING, _FAILED = 1, 0, -1


Upload = Future[ShardDelta | None]


@dataclass
class _Stored:
    """A version that is on its way to S3: all its bytes, what changed, or both."""

    version: WeightVersion
    packed: Packed
    full: bool
    start: Callable[[], Upload] | None
    """Starts the upload; None on a rank that publishes nothing."""
    upload: Upload | None = None
    refused: float | None = None
    """When this rank saw, in monotonic seconds, that the upload was refused; None if it wasn't."""

    def begin(self) -> None:
        self.refused = None
        self.upload = self.start() if self.start is not None else None

    def begin_again(self, now: float) -> None:
        """Repeats an upload that failed; one that was refused, after a while.

        What the store refuses it refuses the next time too, until a person has given the right or
        made the room: that is no reason to send the whole shard again and again. An outage has been
        waited for already by the store's own retries.
        """
        if self.state() != _FAILED or self.upload is None:
            return
        if isinstance(background.error_of(self.upload), StoreUnavailableError):
            self.begin()
        elif self.refused is None:
            self.refused = now
        elif now - self.refused >= REFUSED_SECONDS:
            self.begin()

    def state(self) -> int:
        if self.upload is None:
            return _UPLOADED
        if not self.upload.done():
            return _RUNNING
        return _UPLOADED if self.upload.exception() is None else _FAILED

    def error(self) -> str:
        """What this rank's upload failed with; empty unless it has failed."""
        error = None if self.upload is None else background.error_of(self.upload)
        return "" if error is None else f"{type(error).__name__}: {error}"

    def delta(self) -> ShardDelta | None:
        return None if self.upload is None else self.upload.result()


class Publisher:
    """Versions of one stage's stream.

    Every method is called on every rank in the same order: they all contain collectives.
    """

    def __init__(
        self,
        context: RankContext,
        task: TrainerTask,
        weights: Weights,
        buffers: ShardBuffers,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.context, self.task, self.weights, self.buffers = context, task, weights, buffers
        self._clock = clock
        self._upload_of: _Stored | None = None
        self._retention = Retention(clock)
        self._newest: WeightVersion | None = None
        """As rank 0 registered it last."""
        self._published: tuple[Packed, Shard, int] | None = None
        """The newest version on this rank, and its step."""
        self.failure = ""
        """Why the newest version that should be in the object store isn't there; the same on every
        rank, empty unless an upload has failed since the last that succeeded."""

    def register_again(self) -> None:
        """Registers the newest version with a ledger that was restored from before it.

        Its buffer still holds the bytes. Without this, engines that have started since would find
        only the version's entry of an ended attempt, whose memory is gone, and wait forever.
        """
        if self._newest is not None:
            log.info(
                "The ledger was restored: version %d is registered again.", self._newest.version
            )
            self._register(self._newest)

    def follow(self, task: TrainerTask, model: Model, kept: StreamBuffers) -> None:
        """Takes edited settings, and whether engines need versions in the object store."""
        assert task.spec is not None
        weights = task.spec.weights
        moved = weights.transport is not self.weights.transport
        only_store = weights.transport is Transport.OBJECT_STORE
        if (task.store_versions and not self.task.store_versions) or (moved and only_store):
            self._store_newest()
        if moved:
            # Its upload reads a buffer that is about to be replaced.
            self.finish()
            self._published = None
            self.buffers = buffers_of(self.context, task, model, weights, kept)
        self.weights, self.task = weights, task

    def _store_newest(self) -> None:
        """Uploads the newest version after all: engines that wait for it can't read it elsewhere.

        The next one may never come: with `maxStaleness` 0 its batch needs engines of this one.
        """
        if self._published is None:
            return
        packed, shard, step = self._published
        known = [self.buffers.stored, self._upload_of.packed if self._upload_of else None]
        if any(one is not None and one.version == packed.version for one in known):
            return
        self._end_upload()
        self._upload(packed, shard, step, full=True, base=None)

    def _end_upload(self) -> None:
        # One upload at a time: the next takes the place of the one before, which is registered
        # first if it is done. One that is still uploading after the wait is never registered.
        self.settle(wait=True)
        if self._upload_of is not None:
            self.buffers.stored = None

    def publish(self, model: Model, version: int, step: int, *, anchor: bool = False) -> None:
        """Registers `version` with the coordinator; returns once engines can read it.

        Args:
            anchor: also uploads all its bytes, whatever `anchorEvery` says.
        """
        # Packed before anything is announced: an engine may read as soon as the version is
        # registered.
        shard, index = self.buffers.pack(iter_published(model), self.context.assignment.rank)
        packed = self.buffers.packed(shard, index, version, self.context.attempt)
        self._published = (packed, shard, step)
        only_store = self.weights.transport is Transport.OBJECT_STORE
        every = self._stores_every
        # Engines follow no longer chain of deltas, whatever `anchorEvery` says.
        period = self.weights.anchor_every
        period = min(period, stored_versions.MAX_CHAIN) if every else period
        full = anchor or version % period == 0
        if full or every:
            self._end_upload()
            base = self.buffers.stored if every else None
            # A stage's last version is published twice: no delta leads from it to itself.
            if base is not None and base.version >= version:
                base = None
            # Without a base the chain begins again: the first version of an attempt, or the one
            # after an upload that failed.
            self._upload(packed, shard, step, full=full or base is None, base=base)
        else:
            self._register(self._gather(shard, version, step))
        if only_store:
            self.finish()

    def _upload(
        self, packed: Packed, shard: Shard, step: int, *, full: bool, base: Packed | None
    ) -> None:
        start = self._uploader(packed, shard.rank, full, base) if shard.nbytes else None
        # The upload starts before the gather, so that S3 and the collective overlap.
        upload = start() if start is not None else None
        gathered = self._gather(shard, packed.version, step)
        # Over NIXL engines can read right away, and the URLs follow in `settle`. With the object
        # store alone a version without URLs would be one that nobody can fetch.
        if self.weights.transport is not Transport.OBJECT_STORE:
            self._register(gathered)
        # On every rank, also those without bytes: `settle` is a collective and must be entered by
        # all.
        self._upload_of = _Stored(gathered, packed, full, start, upload)

    def _uploader(
        self, packed: Packed, rank: int, full: bool, base: Packed | None
    ) -> Callable[[], Upload]:
        where = (self.task.run_url, self.task.stream, packed.version, rank)

        def work() -> ShardDelta | None:
            store, delta = self.context.store, None
            if base is not None:
                url = stored_versions.delta_url(*where, self.context.attempt)
                delta = delta_upload.upload(base, packed, store, url)
            if full:
                # A view, not a copy: a second copy of a shard may not fit into the pod's memory.
                url = stored_versions.shard_url(*where, self.context.attempt)
                store.put_buffer(url, packed.buffer.numpy().data)
            return delta

        reads = [packed] if base is None else [packed, base]
        return lambda: self.buffers.upload(reads, work)

    def finish(self) -> None:
        """Waits until the newest upload is in S3, however long S3 is away.

        For versions that engines can't do without. Raises the upload's error if retrying can't
        help.
        """
        while (stored := self._upload_of) is not None:
            self.context.status.alive()
            error: BaseException | None = None
            if stored.upload is not None:
                background.finished(stored.upload, WAIT_SECONDS)
                error = background.error_of(stored.upload)
                if error is not None and not isinstance(error, StoreUnavailableError):
                    raise error
            # Before it begins again: all ranks learn here what failed.
            self.settle(needed=True)
            if error is not None:
                log.warning("Uploading version %d again: %s", stored.version.version, error)
                stored.begin()

    @property
    def _stores_every(self) -> bool:
        """Whether engines read versions from the object store; the same on every rank."""
        return self.weights.transport is Transport.OBJECT_STORE or self.task.store_versions

    def settle(self, *, wait: bool = False, needed: bool = False, again: bool = False) -> None:
        """Registers the uploaded version's URLs once every rank's part is in S3.

        An upload that failed on any rank is dropped, unless it is `needed`, or engines read the
        version from there; it then stays until the next version takes its place.

        Args:
            wait: for this rank's upload, since the next version is about to take its place.
            needed: `finish` uploads again what failed.
            again: nothing else is to be done until engines have the version, so that what failed
                is uploaded again: with `maxStaleness` 0 no other version may ever come. Until it is
                there `failure` says why not.
        """
        stored = self._upload_of
        if stored is None:
            return
        if wait and stored.upload is not None:
            # Half a collective's time-out: the other ranks wait in the all_gather below.
            background.finished(stored.upload, self.context.assignment.timeout_s / 2)
        # All ranks decide by the same list, so that they drop or register the version together.
        found = self.context.control.all_gather((stored.state(), stored.error()))
        states = [state for state, _ in found]
        # Kept for the next call. A needed one that failed is uploaded again by `finish`.
        if needed and _FAILED in states:
            self._note_failure(stored.version.version, [error for _, error in found])
            return
        if _RUNNING in states:
            return
        if _FAILED in states:
            self._note_failure(stored.version.version, [error for _, error in found])
            if self._stores_every and not wait:
                # `publish` packs into the buffers that it reads only after it was dropped.
                if again:
                    stored.begin_again(self._clock())
                return
            self._upload_of = self.buffers.stored = None
            return
        self._upload_of, self.failure = None, ""
        # Collective: only now it is known where each block's delta is.
        rank = self.context.assignment.rank
        deltas = dict(self.context.control.gather((rank, stored.delta())))
        self.buffers.stored = stored.packed
        # Register before retention: until the newer anchor is known, engines may fetch an older
        # one.
        self._register(self._with_urls(stored, deltas))
        if stored.full and self.context.leads:
            self._retain(stored.version.version)

    def _note_failure(self, version: int, errors: list[str]) -> None:
        ranks = [f"rank {rank}: {error}" for rank, error in enumerate(errors) if error]
        failure = f"Weight version {version} is not in the object store ({'; '.join(ranks[:3])})."
        if failure != self.failure:
            log.warning("%s", failure)
        self.failure = failure

    def _with_urls(self, stored: _Stored, deltas: Mapping[int, ShardDelta | None]) -> WeightVersion:
        version = stored.version
        where = (self.task.run_url, self.task.stream, version.version)
        shards = [
            shard.model_copy(
                update={
                    "object_url": (
                        stored_versions.shard_url(*where, shard.rank, version.attempt)
                        if stored.full
                        else None
                    ),
                    "delta": deltas.get(shard.rank),
                }
            )
            for shard in version.shards
        ]
        return version.model_copy(update={"shards": shards})

    def _gather(self, shard: Shard, version: int, step: int) -> WeightVersion:
        """On rank 0 all shards that hold anything; elsewhere a version without shards."""
        # Collective: also a rank without tensors takes part.
        shards = [one for one in self.context.control.gather(shard) if one.nbytes]
        return WeightVersion(
            stream=self.task.stream,
            version=version,
            attempt=self.context.attempt,
            stage=self.task.stage,
            step=step,
            shards=shards,
            check=version % self.weights.check_every == 0,
            run_url=self.task.run_url,
        )

    def _register(self, version: WeightVersion) -> None:
        if self.context.leads:
            self.context.client.publish(version)
            # A copy that arrives in S3 late is registered after a newer version.
            if self._newest is None or version.version >= self._newest.version:
                self._newest = version

    def _retain(self, newest: int) -> None:
        """Deletes anchors and deltas that are needed no longer, in the background."""
        run_url, stream = self.task.run_url, self.task.stream
        folder = stored_versions.folder(run_url, stream)
        store, retain = self.context.store, self.weights.retain

        def is_anchor(number: int) -> bool:
            url = stored_versions.manifest_url(run_url, stream, number)
            try:
                found = stored_versions.parse(store.get(url), url, run_url, stream)
            except StoredVersionError:
                return False
            return stored_versions.has_copy(found)

        def work() -> None:
            try:
                urls_ = [one.url for one in store.list(urls.folder(folder))]
                for url in self._retention.deletable(urls_, folder, newest, retain, is_anchor):
                    store.delete(url)
            # Nobody asks for the result. The next anchor's retention finds them again.
            except StoreError as error:
                log.warning("Old weight versions are kept in the store: %s", error)

        background.start("retain weights", work)
