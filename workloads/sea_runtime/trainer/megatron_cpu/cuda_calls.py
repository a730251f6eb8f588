"""megatron-core 0.16.1 asks `torch.cuda` for the current device when it builds a model.

Without one that raises "Found no NVIDIA driver", or "Torch not compiled with CUDA enabled" from the
CPU build of torch. The answer is used as a `device=` argument everywhere, so the CPU device can
stand in for the index.
"""

import torch


def apply() -> None:
    cpu = torch.device("cpu")
    torch.cuda.current_device = lambda: cpu
