"""megatron-core 0.16.1 asks `torch.cuda` for the current device and synchronises with it.

Without a device both raise "Found no NVIDIA driver". `current_device` is used as a `device=`
argument everywhere, so the CPU device can stand in for the index.
"""

import torch


def apply() -> None:
    cpu = torch.device("cpu")
    torch.cuda.current_device = lambda: cpu
    torch.cuda.synchronize = lambda device=None: None
