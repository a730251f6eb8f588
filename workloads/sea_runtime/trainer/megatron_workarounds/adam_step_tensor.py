"""megatron-core 0.16.1 gives every parameter the same `step` tensor when it loads torch's Adam.

torch's AdamW increments that tensor once per parameter, so the second loss after a resume is wrong
without any error. `own_step_tensors` gives each parameter its own.
"""

from typing import Any

import torch


def own_step_tensors(optimizer: Any) -> None:
    """Clones `state["step"]` of every parameter of a (chained) Megatron optimizer."""
    for part in getattr(optimizer, "chained_optimizers", [optimizer]):
        for state in part.optimizer.state.values():
            if isinstance(state.get("step"), torch.Tensor):
                state["step"] = state["step"].clone()
