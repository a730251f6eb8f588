"""Bytes and speed of lossless deltas, for `make bench-weights`: next to XOR with zstd-1, one core.

The weights are Gaussian, the step is one of fp32 masters, both rounded to bf16, of such a size that
the wanted share of the elements changes.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import xxhash
import zstandard

from sea_runtime.transport import delta_codec
from sea_runtime.transport.delta_codec import Bytes

ROUNDS = 7
ELEMENTS = 1 << 23
PERCENTS = (0.6, 4, 10, 25)


def step_of_training(share: float) -> tuple[Bytes, Bytes]:
    """bf16 weights before and after a Gaussian step of fp32 ones that changes this share."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(ELEMENTS, generator=generator) * 0.02
    step = torch.randn(ELEMENTS, generator=generator)
    old, low, high = weights.bfloat16(), 1e-9, 1e-2
    for _ in range(30):  # bisects the size of the step
        scale = (low * high) ** 0.5
        new = (weights + scale * step).bfloat16()
        changed = float((old != new).float().mean())
        low, high = (scale, high) if changed < share else (low, scale)
    return old.view(torch.uint8).numpy(), new.view(torch.uint8).numpy()


def cpu_gb_s(work: Callable[[], object], nbytes: int) -> float:
    """GB/s of this thread, the fastest of some rounds: others use the machine as well."""
    work()
    seconds = []
    for _ in range(ROUNDS):
        started = time.thread_time()
        work()
        seconds.append(time.thread_time() - started)
    return nbytes / min(seconds) / 1e9


def rows() -> dict[str, dict[str, Any]]:
    ratios: dict[str, Any] = {}
    rates: dict[str, Any] = {}
    xor = zstandard.ZstdCompressor(level=1)
    print(f"Deltas of {ELEMENTS:,} bf16 weights, one core, against XOR + zstd-1")
    for percent in PERCENTS:
        old, new = step_of_training(percent / 100)
        sum_, out = xxhash.xxh3_64_intdigest(old.data), np.empty_like(old)
        delta = delta_codec.encode(old, new, 2, sum_)
        dense = len(xor.compress((old ^ new).tobytes()))
        encode = cpu_gb_s(partial(delta_codec.encode, old, new, 2, sum_), old.size)
        apply = cpu_gb_s(partial(delta_codec.apply, memoryview(delta), old, out, sum_), old.size)
        if not np.array_equal(out, new):
            raise RuntimeError("A delta did not restore the bytes.")
        copy = cpu_gb_s(partial(np.copyto, out, old), old.size)
        ratios[f"{percent:g}"] = round(len(delta) / dense, 3)
        rates[f"{percent:g}"] = {"encode": round(encode, 2), "apply": round(apply, 2)}
        print(
            f"  {percent:4g} % changed: {100 * len(delta) / old.size:6.2f} % of the bytes, "
            f"{len(delta) / dense:5.2f} of XOR; encode {encode:5.2f}, apply {apply:5.2f}, "
            f"memcpy {copy:5.1f} GB/s"
        )
    return {"delta_ratio": ratios, "delta_gb_s": rates}
