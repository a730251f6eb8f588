"""Publishes weight versions: packs this rank's tensors into a host buffer that engines read.

After every RL step and at a stage's end each rank packs its share of the tensors, in Hugging Face
naming (no rank has all of them), and rank 0 gathers the shards' descriptions and registers them
with the coordinator. Nobody waits for engines. Every `anchorEvery` versions, at a stage's end and
for transport ObjectStore the same bytes also go to S3, as an anchor.
"""

import logging
from concurrent.futures import Future
from dataclasses import dataclass

from sea_api.v1alpha1.policy import Transport, Weights
from sea_data import urls
from sea_data.object_store import StoreUnavailableError
from sea_runtime.trainer import background
from sea_runtime.trainer.context import RankContext
from sea_runtime.trainer.hf_weights import iter_published
from sea_runtime.trainer.model import Model
from sea_runtime.trainer.shard_buffers import ShardBuffers, StreamBuffers, buffers_of
from sea_runtime.wire.trainer import TrainerTask
from sea_runtime.wire.weights import Shard, WeightVersion

log = logging.getLogger(__name__)
# Below every watch of a silent process: `finish` reports that it is alive between two waits.
WAIT_SECONDS = 5.0
_UPLOADED, _RUNNING, _FAILED = 1, 0, -1


@dataclass
class _Anchor:
    """A version whose copy is on its way to S3."""

    version: WeightVersion
    upload: Future[None] | None
    """None on a rank that publishes nothing."""
    url: str
    buffer: int
    """Index of the buffer that holds the bytes."""

    def state(self) -> int:
        if self.upload is None:
            return _UPLOADED
        if not self.upload.done():
            return _RUNNING
        return _UPLOADED if self.upload.exception() is None else _FAILED


class Publisher:
    """Versions of one stage's stream.

    Every method is called on every rank in the same order: they all contain collectives.
    """

    def __init__(
        self, context: RankContext, task: TrainerTask, weights: Weights, buffers: ShardBuffers
    ) -> None:
        self.context, self.task, self.weights, self.buffers = context, task, weights, buffers
        self._anchor: _Anchor | None = None
        self._newest: WeightVersion | None = None
        """As rank 0 registered it last."""

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

    def follow(self, weights: Weights, model: Model, kept: StreamBuffers) -> None:
        """Takes edited settings; another transport may need other buffers."""
        if weights.transport is not self.weights.transport:
            # Its upload reads a buffer that is about to be replaced.
            self.finish()
            self.buffers = buffers_of(self.context, self.task, model, weights, kept)
        self.weights = weights

    def publish(self, model: Model, version: int, step: int, *, anchor: bool = False) -> None:
        """Registers `version` with the coordinator; returns once engines can read it.

        Args:
            anchor: also uploads it, whatever `anchorEvery` says.
        """
        # Packed before anything is announced: an engine may read as soon as the version is
        # registered.
        shard, index = self.buffers.pack(iter_published(model), self.context.assignment.rank)
        to_store = self.weights.transport is Transport.OBJECT_STORE
        if to_store or anchor or version % self.weights.anchor_every == 0:
            # One anchor at a time: this one takes the place of the one before, which is registered
            # first if it is done. One that is still uploading after the wait is never registered.
            self.settle(wait=True)
            self._upload(index, shard, version, step)
        else:
            self._register(self._gather(shard, version, step))
        if to_store:
            self.finish()

    def _upload(self, index: int, shard: Shard, version: int, step: int) -> None:
        url = self._url(version, shard.rank)
        # The upload starts before the gather, so that S3 and the collective overlap.
        upload = self.buffers.upload(index, self.context.store, url) if shard.nbytes else None
        gathered = self._gather(shard, version, step)
        # Over NIXL engines can read right away, and the URLs follow in `settle`. With the object
        # store alone a version without URLs would be one that nobody can fetch.
        if self.weights.transport is not Transport.OBJECT_STORE:
            self._register(gathered)
        # On every rank, also those without bytes: `settle` is a collective and must be entered by
        # all.
        self._anchor = _Anchor(gathered, upload, url, index)

    def finish(self) -> None:
        """Waits until the newest anchor is in S3, however long S3 is away.

        For anchors that engines can't do without. Raises the upload's error if retrying can't help.
        """
        while (anchor := self._anchor) is not None:
            self.context.status.alive()
            if anchor.upload is not None:
                background.finished(anchor.upload, WAIT_SECONDS)
                error = background.error_of(anchor.upload)
                if isinstance(error, StoreUnavailableError):
                    log.warning("Uploading the anchor again: %s", error)
                    anchor.upload = self.buffers.upload(
                        anchor.buffer, self.context.store, anchor.url
                    )
                elif error is not None:
                    raise error
            self.settle(needed=True)

    def settle(self, *, wait: bool = False, needed: bool = False) -> None:
        """Registers the anchor's URLs once every rank's copy is in S3.

        An anchor that failed on any rank is dropped, unless it is `needed`.
        """
        anchor = self._anchor
        if anchor is None:
            return
        if wait and anchor.upload is not None:
            # Half a collective's time-out: the other ranks wait in the all_gather below.
            background.finished(anchor.upload, self.context.assignment.timeout_s / 2)
        # All ranks decide by the same list, so that they drop or register the anchor together.
        states = self.context.control.all_gather(anchor.state())
        # Kept for the next call. A needed one that failed is uploaded again by `finish`.
        if _RUNNING in states or (needed and _FAILED in states):
            return
        self._anchor = None
        if _FAILED in states:
            log.warning("The upload of version %d failed.", anchor.version.version)
            return
        shards = [
            shard.model_copy(update={"object_url": self._url(anchor.version.version, shard.rank)})
            for shard in anchor.version.shards
        ]
        # Register before retention: until the newer anchor is known, engines may fetch an older
        # one.
        self._register(anchor.version.model_copy(update={"shards": shards}))
        self._retain(anchor.version.version)

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
        )

    def _register(self, version: WeightVersion) -> None:
        if self.context.leads:
            self.context.client.publish(version)
            # A copy that arrives in S3 late is registered after a newer version.
            if self._newest is None or version.version >= self._newest.version:
                self._newest = version

    def _folder(self) -> str:
        return urls.join(self.task.run_url, "weights", self.task.stream)

    def _url(self, version: int, rank: int) -> str:
        return urls.join(self._folder(), f"v{version:06d}", f"shard-{rank}.bin")

    def _retain(self, newest: int) -> None:
        """Deletes all but the newest `retain` anchors, in the background, on rank 0."""
        if not self.context.leads:
            return

        def work() -> None:
            found = self.context.store.list(urls.folder(self._folder()))
            names = {one.url: one.url.removeprefix(self._folder() + "/")[:7] for one in found}
            # Never a version above `newest`: a later anchor may already be on its way.
            versions = sorted({name for name in names.values() if int(name[1:]) <= newest})
            # `retain` counts anchors; zero-padded names sort by number.
            dropped = set(versions[: -self.weights.retain])
            for url in (url for url, name in names.items() if name in dropped):
                self.context.store.delete(url)

        background.start("retain weights", work)
