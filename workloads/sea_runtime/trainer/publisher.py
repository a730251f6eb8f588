"""Publishes weight versions: packs this rank's tensors into a host buffer that engines read.

After every RL step and at a stage's end: each rank packs its own tensors in Hugging Face naming
(no all-gather), rank 0 gathers the shards' descriptions and tells the coordinator. Nobody waits for
engines. Every `anchorEvery` versions, at stage ends and for transport ObjectStore the same bytes go
to S3.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from sea_api.v1alpha1.policy import Transport, Weights
from sea_data import urls
from sea_data.object_store import StoreUnavailableError
from sea_runtime.trainer import hf_load, hf_mapping
from sea_runtime.trainer.background import Background
from sea_runtime.trainer.job import Job
from sea_runtime.trainer.model import Model
from sea_runtime.transport import manifest
from sea_runtime.wire.trainer import TrainerTask
from sea_runtime.wire.weights import Shard, TensorEntry, WeightVersion

log = logging.getLogger(__name__)
BUFFERS = 3
WAIT_S = 5.0


def own_tensors(model: Model) -> dict[str, Tensor]:
    """What this rank publishes: Hugging Face name -> tensor, views where the layout allows."""
    experts = model.layout.local_experts(model.shape.experts)
    live = hf_load.parameters(model, experts)
    found: dict[str, Tensor] = {}
    for weight in hf_mapping.published(
        live, dense=model.layout.rank == 0, experts=model.layout.writes_experts
    ):
        parts = hf_mapping.split(weight, live[weight].detach(), model.shape)
        found.update(zip(weight.hf, parts, strict=True))
    return found


class ShardBuffers:
    """Rotating host buffers of one stream on one rank, readable over NIXL where it's wanted."""

    def __init__(self, tensors: Mapping[str, Tensor], name: str, nixl: bool) -> None:
        self.entries = manifest.plan(tensors)
        self.nbytes = manifest.total_bytes(self.entries)
        self._buffers = [manifest.allocate(self.entries) for _ in range(BUFFERS)]
        self._uploads: list[Background[None] | None] = [None] * BUFFERS
        self._next = 0
        self._source = None
        if nixl and self.nbytes:
            from sea_runtime.transport.nixl_link import NixlSource

            self._source = NixlSource(name)
            for buffer in self._buffers:
                self._source.register(buffer)
            self._metadata = self._source.metadata_b64()

    def pack(self, tensors: Mapping[str, Tensor], rank: int) -> tuple[Shard, int]:
        """Copies the tensors into the oldest buffer; returns its description and index."""
        index, self._next = self._next, (self._next + 1) % BUFFERS
        upload = self._uploads[index]
        while upload is not None and not upload.wait(WAIT_S):
            log.info("Waiting for the copy of an older version before its buffer is used again.")
        buffer = self._buffers[index]
        entries: list[TensorEntry] = manifest.pack(self.entries, tensors, buffer)
        shard = Shard(rank=rank, nbytes=self.nbytes, tensors=entries)
        if self._source is not None:
            shard = shard.model_copy(
                update={
                    "nixl_agent": self._source.name,
                    "nixl_metadata": self._metadata,
                    "nixl_address": buffer.data_ptr(),
                }
            )
        return shard, index

    def upload(self, index: int, job: Job, url: str) -> Background[None]:
        """Sends a buffer's bytes to S3 in the background; the buffer isn't reused before."""
        data = self._buffers[index].numpy().data

        def work() -> None:
            job.store.put_buffer(url, data)

        started: Background[None] = Background("anchor", work)
        self._uploads[index] = started
        return started

    def close(self) -> None:
        if self._source is not None:
            self._source.close()


@dataclass
class _Anchor:
    version: WeightVersion
    upload: Background[None] | None
    url: str
    index: int
    """Of the buffer that holds the bytes."""


class Publisher:
    """Versions of one stage's stream on all ranks; every method is called on every rank."""

    def __init__(self, job: Job, task: TrainerTask, policy: Weights, buffers: ShardBuffers) -> None:
        self.job, self.task, self.policy, self.buffers = job, task, policy, buffers
        self._anchor: _Anchor | None = None

    def publish(self, model: Model, version: int, step: int, *, anchor: bool = False) -> None:
        """Makes `version` known; returns once engines can read it."""
        shard, index = self.buffers.pack(own_tensors(model), self.job.world.rank)
        to_store = self.policy.transport is Transport.OBJECT_STORE
        if to_store or anchor or version % self.policy.anchor_every == 0:
            self.settle(wait=True)
            self._upload(index, shard, version, step)
        else:
            self._announce(self._gather(shard, version, step))
        if to_store:
            self.finish()

    def _upload(self, index: int, shard: Shard, version: int, step: int) -> None:
        url = self._url(version, shard.rank)
        upload = self.buffers.upload(index, self.job, url) if shard.nbytes else None
        known = self._gather(shard, version, step)
        if self.policy.transport is not Transport.OBJECT_STORE:
            self._announce(known)
        self._anchor = _Anchor(known, upload, url, index)

    def finish(self) -> None:
        """Waits until the newest copy is in S3, however long S3 is away.

        For copies that engines can't do without. Raises what waiting does not mend.
        """
        while (anchor := self._anchor) is not None:
            self.job.report.alive()
            if anchor.upload is not None:
                anchor.upload.wait(WAIT_S)
                if isinstance(anchor.upload.error, StoreUnavailableError):
                    log.warning("The copy is written again: %s", anchor.upload.error)
                    anchor.upload = self.buffers.upload(anchor.index, self.job, anchor.url)
                elif anchor.upload.error is not None:
                    raise anchor.upload.error
            self.settle(needed=True)

    def settle(self, *, wait: bool = False, needed: bool = False) -> None:
        """Once all ranks' copies are in S3, tells the coordinator where they are.

        A copy that failed is forgotten, unless it is `needed`.
        """
        anchor = self._anchor
        if anchor is None:
            return
        if wait and anchor.upload is not None:
            anchor.upload.wait(self.job.world.timeout_s / 2)
        states = self.job.control.all(self._state(anchor))
        if 0 in states or (needed and min(states) < 0):
            return
        self._anchor = None
        if min(states) < 0:
            log.warning("The copy of version %d in S3 failed.", anchor.version.version)
            return
        shards = [
            shard.model_copy(update={"object_url": self._url(anchor.version.version, shard.rank)})
            for shard in anchor.version.shards
        ]
        self._announce(anchor.version.model_copy(update={"shards": shards}))
        self._retain(anchor.version.version)

    @staticmethod
    def _state(anchor: _Anchor) -> int:
        """1 uploaded, 0 under way, -1 failed."""
        if anchor.upload is None:
            return 1
        if not anchor.upload.done:
            return 0
        return 1 if anchor.upload.error is None else -1

    def _gather(self, shard: Shard, version: int, step: int) -> WeightVersion:
        """On rank 0 all shards that hold anything; elsewhere a version without shards."""
        shards = [one for one in self.job.control.gather(shard) if one.nbytes]
        return WeightVersion(
            stream=self.task.stream,
            version=version,
            attempt=self.job.attempt,
            stage=self.task.stage,
            step=step,
            shards=shards,
        )

    def _announce(self, version: WeightVersion) -> None:
        if self.job.leads:
            self.job.client.publish(version)

    def _folder(self) -> str:
        return urls.join(self.task.run_url, "weights", self.task.stream)

    def _url(self, version: int, rank: int) -> str:
        return urls.join(self._folder(), f"v{version:06d}", f"shard-{rank}.bin")

    def _retain(self, newest: int) -> None:
        """Deletes all but the newest copies, in the background, on rank 0."""
        if not self.job.leads:
            return

        def work() -> None:
            found = self.job.store.list(urls.folder(self._folder()))
            names = {one.url: one.url.removeprefix(self._folder() + "/")[:7] for one in found}
            versions = sorted({name for name in names.values() if int(name[1:]) <= newest})
            dropped = set(versions[: -self.policy.retain])
            for url in (url for url, name in names.items() if name in dropped):
                self.job.store.delete(url)

        Background("retain weights", work)
