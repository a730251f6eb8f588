"""Workaround for vLLM 0.32.0 on CPU: `--enable-return-routed-experts` needs its second runner.

vLLM collects the experts of each token in Model Runner V2 only, which needs Triton, and refuses
the flag on a CPU. All that the first runner lacks is to call vLLM's own collector
(`AuxOutputWorkerConnector`) around a step; here it does. CPU engines have no asynchronous
scheduling, so what a step collected is complete when its tokens are.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np
from vllm.config import VllmConfig
from vllm.platforms import current_platform

_MARK = "_sea_collects"
_COLLECTOR = "_sea_collector"


def collect_routed_experts() -> None:
    """Patches vLLM in this process, before an engine is built; safe to call twice."""
    if hasattr(VllmConfig, _MARK) or not current_platform.is_cpu():
        return
    verify = VllmConfig._verify_aux_output_compatibility

    def verified(config: Any) -> None:
        # Of a model without experts vLLM itself says so, when it looks for their routers.
        if config.use_v2_model_runner:
            verify(config)

    VllmConfig._verify_aux_output_compatibility = verified
    _wrap_runner()
    setattr(VllmConfig, _MARK, True)


def _wrap_runner() -> None:
    # Not at the top: it takes long to import, and no GPU's engine needs it.
    from vllm.v1.worker.cpu_model_runner import CPUModelRunner

    initialize, execute, sample = (
        CPUModelRunner.initialize_kv_cache,
        CPUModelRunner.execute_model,
        CPUModelRunner.sample_tokens,
    )

    def initialized(self: Any, cache: Any, is_profiling: bool = False, **options: Any) -> None:
        initialize(self, cache, is_profiling, **options)
        if self.vllm_config.aux_output_config.enabled and not is_profiling:
            from vllm.distributed.aux_output_connector.worker import get_aux_output_connector

            setattr(self, _COLLECTOR, get_aux_output_connector(self.model, self.vllm_config, cache))

    def executed(self: Any, step: Any, *more: Any) -> Any:
        collector = getattr(self, _COLLECTOR, None)
        if collector is not None:
            # Before the pass, and also for a step without tokens: it says which requests ended.
            collector.begin_step(step.aux_output_connector_metadata)
        return execute(self, step, *more)

    def sampled(self: Any, grammar: Any) -> Any:
        output = sample(self, grammar)
        collector = getattr(self, _COLLECTOR, None)
        if collector is not None and output.req_ids:
            output.aux_output_connector_output = _collected(self, collector, output)
        return output

    CPUModelRunner.initialize_kv_cache = initialized
    CPUModelRunner.execute_model = executed
    CPUModelRunner.sample_tokens = sampled


def _collected(runner: Any, collector: Any, output: Any) -> Any:
    """The experts of a step's tokens by request; None on a worker that doesn't answer."""
    count = len(output.req_ids)
    batch = SimpleNamespace(
        req_ids=output.req_ids,
        query_start_loc_np=runner.query_start_loc.np[: count + 1],
        # Of before the step: the batch counts its tokens at the next one.
        num_computed_tokens_np=runner.input_batch.num_computed_tokens_cpu[:count].copy(),
    )
    pending = collector.prepare_output(batch)
    if pending is None:
        return None
    # A part of a prompt has no token yet.
    drawn = np.array([len(tokens) for tokens in output.sampled_token_ids])
    pending.enqueue_cpu_copy(drawn, np.zeros(count, np.int64))
    return pending.process_output()
