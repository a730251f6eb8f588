"""Host buffers of one stream on one rank: what engines read over NIXL, and what goes to S3.

They outlive stages: registering memory with NIXL costs seconds, and engines keep reading the last
version while the next stage opens.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future

import torch
from torch import Tensor

from sea_api.v1alpha1.policy import Transport, Weights
from sea_api.v1alpha1.role_rules import engine_workers
from sea_data.object_store import StoreUnavailableError
from sea_runtime.parallel import engine_blocks
from sea_runtime.parallel.engine_blocks import EngineCuts
from sea_runtime.parallel.regions import Region
from sea_runtime.trainer import background
from sea_runtime.trainer.context import RankContext
from sea_runtime.trainer.delta_upload import Packed
from sea_runtime.trainer.hf_weights import published_shapes
from sea_runtime.trainer.model import Model
from sea_runtime.transport import layouts, manifest
from sea_runtime.wire.trainer import TrainerTask
from sea_runtime.wire.weights import Shard, ShardDelta

log = logging.getLogger(__name__)
BUFFERS = 3
"""Versions that engines can read at a time: the newest, and two that slow engines still read."""
WAIT_SECONDS = 5.0
MAX_WAIT_SECONDS = 900.0
"""Longest wait for the upload of an older version; the attempt then fails and starts again."""


Shapes = Mapping[str, tuple[int, ...]]


def _planned(shapes: Shapes, dtype: torch.dtype) -> dict[str, Tensor]:
    """Tensors without memory."""
    return {name: torch.empty(s, dtype=dtype, device="meta") for name, s in shapes.items()}


class ShardBuffers:
    """Rotating host buffers for this rank's tensors, each of which holds one version."""

    def __init__(
        self, shapes: Shapes, dtype: torch.dtype, name: str, nixl: bool, cuts: EngineCuts
    ) -> None:
        """Args:
        shapes: of the tensors, by name.
        name: of the NIXL agent.
        nixl: registers the buffers, so that engines can read them.
        cuts: how engines cut the tensors: what one of their workers needs is stored in one piece.
        """
        self.nixl, self.cuts = nixl, cuts
        self.blocks = manifest.plan(_planned(shapes, dtype), self._regions)
        self.nbytes = manifest.total_bytes(self.blocks)
        self._layout = layouts.digest(layouts.layout_of(self.blocks))
        self._buffers = [manifest.allocate(self.nbytes) for _ in range(BUFFERS)]
        self._uploads: list[Future[ShardDelta | None] | None] = [None] * BUFFERS
        self.stored: Packed | None = None
        """The newest version that is both in the object store and still in a buffer: what the next
        delta can be based on. The same version on all ranks."""
        self._next = 0
        self._source = None
        if nixl and self.nbytes:
            from sea_runtime.transport.nixl_link import NixlSource

            # Imported above only with NIXL: with transport ObjectStore the library isn't needed.
            self._source = NixlSource(name)
            # All of them before the metadata is read: it then never changes.
            for buffer in self._buffers:
                self._source.register(buffer)
            self._metadata = self._source.metadata_b64()

    def fits(self, shapes: Shapes, dtype: torch.dtype, cuts: EngineCuts) -> bool:
        """True if the buffers were planned for such tensors, cut like this."""
        planned = {one.name: (tuple(one.tensor), one.dtype) for one in self.blocks}
        name = manifest.dtype_name(dtype)
        return self.cuts == cuts and planned == {key: (one, name) for key, one in shapes.items()}

    def _regions(self, name: str, shape: Sequence[int]) -> Sequence[Region]:
        return engine_blocks.blocks(name, shape, self.cuts)

    def pack(self, tensors: Iterable[tuple[str, Tensor]], rank: int) -> tuple[Shard, int]:
        """Copies the tensors, as they come, into the oldest buffer.

        Returns its description and its index.

        An engine that still reads that buffer gets bytes of two versions; the checksums of the
        blocks let it notice. Blocks while an upload still reads that buffer.

        Raises:
            StoreUnavailableError: that upload does not end.
        """
        # Oldest first: the newest version and the one before stay readable while this one is
        # packed.
        index, self._next = self._next, (self._next + 1) % BUFFERS
        upload = self._uploads[index]
        # An upload reads the buffer without a copy: overwritten under it, the object in S3 would
        # not match its manifest.
        waited = 0.0
        while upload is not None and not background.finished(upload, WAIT_SECONDS):
            waited += WAIT_SECONDS
            if waited >= MAX_WAIT_SECONDS:
                raise StoreUnavailableError(
                    f"The upload of an older weight version has not ended for {waited:.0f} s, and "
                    f"all {BUFFERS} buffers are in use. Look at the object store, or raise "
                    "weights.anchorEvery so that fewer versions are uploaded."
                )
            log.info("Waiting for the upload of an older version before its buffer is reused.")
        if self.stored is not None and self.stored.index == index:
            self.stored = None
        buffer = self._buffers[index]
        blocks = manifest.pack(self.blocks, tensors, buffer)
        shard = Shard(rank=rank, nbytes=self.nbytes, blocks=blocks, layout=self._layout)
        if self._source is not None:
            shard = shard.model_copy(
                update={
                    "nixl_agent": self._source.name,
                    "nixl_metadata": self._metadata,
                    # The metadata covers all buffers; the address says which of them holds this
                    # version.
                    "nixl_address": buffer.data_ptr(),
                }
            )
        return shard, index

    def packed(self, shard: Shard, index: int, version: int, attempt: int) -> Packed:
        """What `pack` has left in a buffer."""
        return Packed(version, attempt, index, shard.blocks, self._buffers[index])

    def upload(
        self, reads: Iterable[Packed], work: Callable[[], ShardDelta | None]
    ) -> Future[ShardDelta | None]:
        """Runs `work` in the background; `pack` reuses no buffer that it reads before its end."""
        upload = background.start("upload", work)
        for one in reads:
            self._uploads[one.index] = upload
        return upload

    def close(self) -> None:
        if self._source is not None:
            self._source.close()


StreamBuffers = dict[str, ShardBuffers]
"""By stream."""


def engine_cuts(task: TrainerTask, model: Model) -> EngineCuts:
    """How the engines that serve the task's stream cut the model."""
    assert task.spec is not None
    role = task.spec.user_model if task.stream == "user" else task.spec.rollout
    return EngineCuts(engine_workers(role), role.parallelism.expert > 1, model.shape.kv_heads)


def buffers_of(
    context: RankContext, task: TrainerTask, model: Model, weights: Weights, kept: StreamBuffers
) -> ShardBuffers:
    """The stream's buffers: those in `kept` if they fit, else new ones, which are kept there."""
    stream, cuts = task.stream, engine_cuts(task, model)
    shapes, dtype = published_shapes(model), model.gpt.config.params_dtype
    known = kept.get(stream)
    nixl = weights.transport is not Transport.OBJECT_STORE
    if known is None or known.nixl != nixl or not known.fits(shapes, dtype, cuts):
        name = f"{context.pod.pod}-{stream}-{context.assignment.rank}"
        # The buffers that it replaces are freed with their last reference; engines that still read
        # them notice by an error or a checksum.
        kept[stream] = ShardBuffers(shapes, dtype, name, nixl, cuts)
    return kept[stream]
