"""What vLLM's worker calls for a weight update: `SeaWorker` to prefetch, the engine `sea` to load.

`SeaWorker` is mixed into vLLM's worker class (`--worker-extension-cls`) and called through
`/collective_rpc`, in the engine's own loop between two forward passes, so its methods return at
once. Only `sea_load`, while generation is paused, takes its time: vLLM's start_weight_update ->
update_weights (version, attempt) -> finish_weight_update. The bytes are in `staging` already; here
they become parameters.
"""

import json
import os
from dataclasses import dataclass
from typing import Any

import torch
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)

from sea_data.models import fp8_blocks
from sea_runtime.rollout.vllm_plugin import recorder, replay
from sea_runtime.rollout.vllm_plugin.cpu_moe_prepack import forget_moe_kernels
from sea_runtime.rollout.vllm_plugin.cpu_tied_head import repack_heads
from sea_runtime.rollout.vllm_plugin.staging import STAGING
from sea_runtime.wire.weights import ShardLayout, WeightVersion


@dataclass
class SeaInitInfo(WeightTransferInitInfo):
    """Nothing to agree on: engines pull their weights."""


@dataclass
class SeaUpdateInfo(WeightTransferUpdateInfo):
    """The staged version to load."""

    version: int
    attempt: int


class SeaWeightTransferEngine(WeightTransferEngine):
    """Pull-based: no process group, no hand-shake, nothing to do before the first update."""

    init_info_cls = SeaInitInfo
    update_info_cls = SeaUpdateInfo
    _filled: frozenset[torch.nn.Module] | set[torch.nn.Module] = frozenset()
    """Layers that the update has written."""

    def init_transfer_engine(self, init_info: SeaInitInfo) -> None:
        pass

    def start_weight_update(self) -> None:
        # Set first and cleared last: an engine found paused in between must not be resumed.
        STAGING.applying = True
        # Forget before the layers are filled, which builds the kernels from what they hold then.
        if self.device.type == "cpu":
            forget_moe_kernels(self.model)

    def receive_weights(self, update_info: SeaUpdateInfo) -> None:
        applied = STAGING.begin_applying()
        # Layer by layer from views of the host copy: never a second copy of the model.
        self._filled = set()
        with torch.no_grad():
            for layer, copies, joined in STAGING.layers(update_info.version, update_info.attempt):
                replay.replay(layer, copies, joined, applied.loaded)
                self._filled.add(layer)

    def finish_weight_update(self) -> None:
        with torch.no_grad():
            replay.finish(self.model, self.model_config.dtype)
        if self.device.type == "cpu":
            repack_heads(self.model, self._filled)
        STAGING.end_applying()

    def shutdown(self) -> None:
        STAGING.close()


class SeaWorker:
    """Methods of vLLM's worker; every name begins with `sea_`."""

    def sea_prefetch(self, manifest: str) -> str:
        """Starts fetching a version (JSON of `WeightVersion`); returns JSON of PrefetchStatus."""
        version = WeightVersion.model_validate_json(manifest)
        # Recorded here, in the engine's loop: between two forward passes, never during one.
        return STAGING.prefetch(version, self._record).model_dump_json()

    def sea_add_layout(self, digest: str, layout: str) -> None:
        """Keeps a layout (JSON of `ShardLayout`) that versions name."""
        STAGING.add_layout(digest, ShardLayout.model_validate_json(layout))

    def _record(self, tensors: recorder.TensorTypes) -> recorder.Recording:
        worker: Any = self
        return recorder.record(worker.get_model(), tensors)

    def sea_prefetch_status(self) -> str:
        """JSON of PrefetchStatus."""
        return STAGING.status().model_dump_json()

    def sea_load(self, version: str, attempt: str, check: str) -> str:
        """Replaces the weights by a prefetched version; call while the engine is paused.

        Args:
            check: not empty: compare what this worker then holds with the version; required where
                the prefetch said so.

        Returns:
            JSON list of the tensors that it doesn't hold as the version has them.
        """
        worker: Any = self
        worker.start_weight_update()
        worker.update_weights({"version": int(version), "attempt": int(attempt)})
        worker.finish_weight_update()
        with torch.no_grad():
            return json.dumps(STAGING.wrong() if check else [])

    def sea_served_copy(self) -> str:
        """JSON of WorkerCopy, for other engines to read; empty if this worker serves nothing."""
        served = STAGING.served()
        return "" if served is None else served.model_dump_json()

    def sea_is_empty(self) -> bool:
        """True if the engine was started without weights and has had no version yet."""
        worker: Any = self
        return worker.load_config.load_format == "dummy" and not STAGING.filled

    def sea_has_fp8_weights(self) -> bool:
        """True if the folder's FP8 weights were loaded as they are."""
        worker: Any = self
        return fp8_blocks.is_in_blocks(worker.model_config.hf_config.to_dict())

    def sea_is_applying(self) -> bool:
        """True if the model's weights are half-loaded or unchecked (its updater died)."""
        return STAGING.applying

    def sea_terminate(self) -> None:
        """Exits the worker, and with it the engine: its weights are half-loaded or wrong."""
        # Not sys.exit: nothing in this process, the prefetch thread included, may go on. The call
        # is never answered; `rollout/dead_engine_core.py` ends the server that waits for it.
        os._exit(os.EX_SOFTWARE)
