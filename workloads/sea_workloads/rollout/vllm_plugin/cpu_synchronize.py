"""Workaround for vLLM 0.32.0: its base weight transfer engine synchronises an accelerator.

`WeightTransferEngine.update_weights` ends with `torch.accelerator.synchronize()`, which raises
where there is no accelerator.
"""

import torch


def synchronize_accelerator() -> None:
    """Waits for work queued on the current accelerator; does nothing on a CPU."""
    if torch.accelerator.is_available() and torch.accelerator.device_count() > 0:
        torch.accelerator.synchronize()
