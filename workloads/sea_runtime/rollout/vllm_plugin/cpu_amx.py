"""Workaround for vLLM 0.32.0 on CPUs with AMX: bf16 attention dies with SIGILL.

Linux grants the tile registers to a process only if it asks. vLLM's attention kernel uses them
without asking; torch asks in `_init_amx`, which nothing calls before the first request.
"""

import torch


def permit_amx() -> bool:
    """Asks Linux for the tile registers; False if the CPU has none."""
    if not torch.cpu._is_amx_tile_supported():
        return False
    return bool(torch._C._cpu._init_amx())
