"""megatron-core 0.16.1 copies every key of torch's Adam state out of a checkpoint, `step` as well.

The checkpoint's per-parameter part has no `step` (it is stored per group), so loading into torch's
AdamW, the only Adam without Apex or TransformerEngine, raises KeyError 'step'.
"""

from typing import Any

import torch
from megatron.core.optimizer.distrib_optimizer import DistributedOptimizer


class _Present(dict[str, Any]):
    """State whose missing keys are read from the optimizer's current state."""

    def __init__(self, loaded: dict[str, Any], current: dict[str, Any]) -> None:
        super().__init__(loaded)
        self._current = current

    def __missing__(self, key: str) -> Any:
        return self._current[key]


def apply() -> None:
    original = DistributedOptimizer._set_main_param_and_optimizer_states
    # Applied once: a second wrapper would wrap the first.
    if getattr(original, "fills_missing", False):
        return

    def fill_missing(self: Any, model_param: Any, tensors: dict[str, Any]) -> None:
        group, order = self.model_param_group_index_map[model_param]
        main = self.optimizer.param_groups[group]["params"][order]
        with torch.no_grad():
            original(self, model_param, _Present(tensors, self.optimizer.state[main]))

    fill_missing.fills_missing = True  # type: ignore[attr-defined]
    DistributedOptimizer._set_main_param_and_optimizer_states = fill_missing
