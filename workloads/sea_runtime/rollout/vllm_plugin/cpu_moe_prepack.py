"""Workaround for vLLM 0.32.0 on CPU: reloaded MoE weights are not packed again, silently.

`UnquantizedFusedMoEMethod._setup_kernel` packs weights into the CPU's grouped-GEMM layout only
when it builds the kernel, and it builds it once: after a weight update the old packed copy keeps
generating. Without a kernel it builds a new one from the new weights.
"""

from typing import Any

import torch


def forget_moe_kernels(model: torch.nn.Module) -> int:
    """Call before an update; returns how many layers will build their kernel again.

    Only for weights on the CPU: on a GPU the kernel reads the updated storage, and CUDA graphs
    hold its addresses.
    """
    forgotten = 0
    for module in model.modules():
        method: Any = getattr(module, "quant_method", None)
        # Only layers that have built a kernel; None makes vLLM build another.
        if getattr(method, "moe_kernel", None) is not None:
            method.moe_kernel = None
            forgotten += 1
    return forgotten
