"""megatron-core 0.16.1 asks `torch.cuda` for the current device when it builds a model.

Without one that raises "Found no NVIDIA driver", or "Torch not compiled with CUDA enabled" in the
CPU build of torch. The result is only used as a `device=` argument, so the CPU device can replace
the index.
"""

import torch


def apply() -> None:
    cpu = torch.device("cpu")
    torch.cuda.current_device = lambda: cpu
