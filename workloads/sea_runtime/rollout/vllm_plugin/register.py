"""Entry point of the plug-in: runs in the API server, the engine core and every worker."""

import os

from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory

from sea_api.contract import Env
from sea_runtime.rollout.vllm_plugin.cpu_amx import permit_amx
from sea_runtime.rollout.vllm_plugin.cpu_routed_experts import collect_routed_experts
from sea_runtime.rollout.vllm_plugin.cpu_seeded_prefill import rewind_generators

BACKEND = "sea"


def register() -> None:
    """Registers `--weight-transfer-config '{"backend": "sea"}'`; safe to call twice."""
    # In every process, before its first attention kernel runs; asking again is harmless.
    permit_amx()
    rewind_generators()
    if os.environ.get(Env.ROUTER_REPLAY) == "1":
        collect_routed_experts()
    if BACKEND not in WeightTransferEngineFactory._registry:
        WeightTransferEngineFactory.register_engine(
            BACKEND, "sea_runtime.rollout.vllm_plugin.transfer_engine", "SeaWeightTransferEngine"
        )
