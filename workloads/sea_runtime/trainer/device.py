"""Which device the training processes use."""

import torch


def has_cuda() -> bool:
    """True where a CUDA device answers; a CUDA build of torch without a driver counts as CPU."""
    return torch.cuda.is_available()


def training_device() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device()) if has_cuda() else torch.device("cpu")
