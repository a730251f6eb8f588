"""Host buffers of one stream on one rank: what engines read over NIXL, and what goes to S3.

They outlive stages: registering memory with NIXL costs seconds, and engines keep reading the last
version while the next stage opens.
"""

import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import Future

import torch
from torch import Tensor

from sea_api.v1alpha1.policy import Transport, Weights
from sea_data.object_store import StoreUnavailableError
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.trainer import background
from sea_runtime.trainer.context import RankContext
from sea_runtime.trainer.hf_weights import published_shapes
from sea_runtime.trainer.model import Model
from sea_runtime.transport import manifest
from sea_runtime.wire.weights import Shard, TensorEntry

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

    def __init__(self, shapes: Shapes, dtype: torch.dtype, name: str, nixl: bool) -> None:
        """Args:
        shapes: of the tensors, by name.
        name: of the NIXL agent.
        nixl: registers the buffers, so that engines can read them.
        """
        self.nixl = nixl
        self.entries = manifest.plan(_planned(shapes, dtype))
        self.nbytes = manifest.total_bytes(self.entries)
        self._buffers = [manifest.allocate(self.entries) for _ in range(BUFFERS)]
        self._uploads: list[Future[None] | None] = [None] * BUFFERS
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

    def fits(self, shapes: Shapes, dtype: torch.dtype) -> bool:
        """True if the buffers were planned for tensors of these names, shapes and dtype."""
        return self.entries == manifest.plan(_planned(shapes, dtype))

    def pack(self, tensors: Iterable[tuple[str, Tensor]], rank: int) -> tuple[Shard, int]:
        """Copies the tensors, as they come, into the oldest buffer.

        Returns its description and its index.

        An engine that still reads that buffer gets bytes of two versions; the checksums of the
        entries let it notice. Blocks while an upload still reads that buffer.

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
        buffer = self._buffers[index]
        entries: list[TensorEntry] = manifest.pack(self.entries, tensors, buffer)
        shard = Shard(rank=rank, nbytes=self.nbytes, tensors=entries)
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

    def upload(self, index: int, store: ObjectStore, url: str) -> Future[None]:
        """Uploads a buffer in the background; `pack` does not reuse it before that is finished."""
        # A view, not a copy: a second copy of a shard may not fit into the pod's memory.
        data = self._buffers[index].numpy().data
        upload = background.start("anchor", lambda: store.put_buffer(url, data))
        self._uploads[index] = upload
        return upload

    def close(self) -> None:
        if self._source is not None:
            self._source.close()


StreamBuffers = dict[str, ShardBuffers]
"""By stream."""


def buffers_of(
    context: RankContext, stream: str, model: Model, weights: Weights, kept: StreamBuffers
) -> ShardBuffers:
    """The stream's buffers: those in `kept` if they fit, else new ones, which are kept there."""
    shapes, dtype = published_shapes(model), model.gpt.config.params_dtype
    known = kept.get(stream)
    nixl = weights.transport is not Transport.OBJECT_STORE
    if known is None or known.nixl != nixl or not known.fits(shapes, dtype):
        name = f"{context.pod.pod}-{stream}-{context.assignment.rank}"
        # The buffers that it replaces are freed with their last reference; engines that still read
        # them notice by an error or a checksum.
        kept[stream] = ShardBuffers(shapes, dtype, name, nixl)
    return kept[stream]
