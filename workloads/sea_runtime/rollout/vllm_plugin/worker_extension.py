"""Methods added to vLLM's worker (`--worker-extension-cls`), called through `/collective_rpc`.

They run in the engine's own loop between two forward passes, so each returns at once.
"""

import os

from sea_runtime.rollout.vllm_plugin.staging import STAGING
from sea_runtime.wire.weights import WeightVersion


class SeaWorker:
    """Mixed into vLLM's worker class; every name begins with `sea_`."""

    def sea_prefetch(self, manifest: str) -> str:
        """Starts fetching a version (JSON of `WeightVersion`); returns JSON of PrefetchStatus."""
        return STAGING.prefetch(WeightVersion.model_validate_json(manifest)).model_dump_json()

    def sea_prefetch_status(self) -> str:
        """JSON of PrefetchStatus."""
        return STAGING.status().model_dump_json()

    def sea_is_applying(self) -> bool:
        """True if the model's weights are half-loaded (an updater died during an update)."""
        return STAGING.applying

    def sea_terminate(self) -> None:
        """Exits the worker, and with it the engine: its weights are half-loaded."""
        # Not sys.exit: nothing in this process, the prefetch thread included, may go on. 70 is
        # EX_SOFTWARE.
        os._exit(70)
