"""What vLLM's worker calls for a weight update: `SeaWorker` to prefetch, the engine `sea` to load.

`SeaWorker` is mixed into vLLM's worker class (`--worker-extension-cls`) and called through
`/collective_rpc`, in the engine's own loop between two forward passes, so its methods return at
once. While generation is paused vLLM calls, on behalf of `weight_swap`: start_weight_update ->
update_weights (version, attempt) -> finish_weight_update. The bytes are in `staging` already; here
they become parameters.
"""

import json
import os
import threading
from dataclasses import dataclass
from typing import Any

import torch
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.model_executor.model_loader.reload import (
    finalize_layerwise_reload,
    initialize_layerwise_reload,
)

from sea_runtime.rollout.vllm_plugin import recorder, reload_warnings
from sea_runtime.rollout.vllm_plugin.cpu_moe_prepack import forget_moe_kernels
from sea_runtime.rollout.vllm_plugin.cpu_tied_head import repack_heads
from sea_runtime.rollout.vllm_plugin.staging import STAGING
from sea_runtime.wire.weights import ShardLayout, WeightVersion

TERMINATION_DELAY_SECONDS = 0.2


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
    _without_weights: frozenset[str] = frozenset()

    def init_transfer_engine(self, init_info: SeaInitInfo) -> None:
        pass

    def start_weight_update(self) -> None:
        # Set first and cleared last: an engine found paused in between must not be resumed.
        STAGING.applying = True
        # Before the reload, which takes the layers apart.
        self._without_weights = reload_warnings.classes_without_weights(self.model)
        # Forget before the reload, which builds the kernels from what it loads.
        if self.device.type == "cpu":
            forget_moe_kernels(self.model)
        initialize_layerwise_reload(self.model)

    def receive_weights(self, update_info: SeaUpdateInfo) -> None:
        applied = STAGING.begin_applying()
        # Layer by layer over views of the host copy: never a second copy of the model.
        with torch.no_grad(), torch.device(self.device):
            for layer, copies, staged in STAGING.layers(update_info.version, update_info.attempt):
                recorder.replay(layer, copies, staged.get, applied.loaded)

    def finish_weight_update(self) -> None:
        # Finalize before repacking: the heads are packed from the weights that it puts in place.
        with reload_warnings.dropped(self._without_weights):
            finalize_layerwise_reload(self.model, self.model_config)
        if self.device.type == "cpu":
            repack_heads(self.model)
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

    def sea_wrong_tensors(self) -> str:
        """JSON list of the tensors that this worker doesn't hold as the applied version has them.

        Call while the engine is paused, after an update whose prefetch said `check`.
        """
        with torch.no_grad():
            return json.dumps(STAGING.wrong())

    def sea_served_copy(self) -> str:
        """JSON of WorkerCopy, for other engines to read; empty if this worker serves nothing."""
        served = STAGING.served()
        return "" if served is None else served.model_dump_json()

    def sea_is_empty(self) -> bool:
        """True if the engine was started without weights and has had no version yet."""
        worker: Any = self
        return worker.load_config.load_format == "dummy" and not STAGING.filled

    def sea_is_applying(self) -> bool:
        """True if the model's weights are half-loaded or unchecked (its updater died)."""
        return STAGING.applying

    def sea_terminate(self) -> None:
        """Exits the worker, and with it the engine: its weights are half-loaded or wrong."""
        # After the answer: vLLM 0.32's API server waits for that of a dead core for ever, and its
        # process would only end by the liveness probe. `applying` keeps everyone from resuming.
        # Not sys.exit: nothing in this process, the prefetch thread included, may go on. 70 is
        # EX_SOFTWARE.
        threading.Timer(TERMINATION_DELAY_SECONDS, os._exit, (70,)).start()
