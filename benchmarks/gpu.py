"""`make bench-gpu`: the trainer's GPU path on one CUDA device, with torch (2.11 or newer) alone.

Compares the kernels with plain formulas, then trains one pipeline stage of the reference run (8
layers of Qwen3-235B-A22B on one of its ranks, 32,768 tokens) and prints tokens per second, the
share of the device's own matrix peak, and memory by item. `--cpu` runs it with tiny sizes, to test
the script. The last line is one JSON object. Takes up to 8 minutes. Where only torch is installed:
`PYTHONPATH=workloads python benchmarks/gpu.py`.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from gpu_stage import TINY, Sizes, Stage
from torch import Tensor, nn
from torch.nn import functional

from sea_runtime.trainer import attention_kernels, head
from sea_runtime.trainer.grouped_linear import grouped_linear
from sea_runtime.trainer.row_spans import RowSpans, Span

TOLERANCES = {"experts": 0.02, "attention": 0.02, "head": 0.02, "stage_logprobs": 0.05}
"""Largest difference of bf16 from FP32, relative to the largest value; of log p in nats."""


def relative(got: Tensor, wanted: Tensor) -> float:
    return float((got.float() - wanted.float()).abs().max() / wanted.float().abs().max())


def with_gradients(
    run: Callable[..., Tensor], inputs: list[Tensor], dtype: torch.dtype
) -> list[Tensor]:
    """The result and the gradients of all inputs, computed in `dtype`."""
    own = [x.detach().to(dtype).requires_grad_() for x in inputs]
    out = run(*own)
    weights = torch.linspace(-1, 1, out.numel(), device=out.device).view_as(out)
    return [out.detach(), *torch.autograd.grad((weights * out.float()).sum(), own)]


def worst(
    run: Callable[..., Tensor], formula: Callable[..., Tensor], inputs: list[Tensor]
) -> float:
    """Error of the kernel in bf16 against the formula in FP32, values and gradients."""
    got = with_gradients(run, inputs, torch.bfloat16)
    wanted = with_gradients(formula, inputs, torch.float32)
    return max(relative(a, b) for a, b in zip(got, wanted, strict=True))


def check_experts(device: str) -> float:
    sizes = [130, 0, 57, 325]
    ends = torch.tensor(sizes, device=device).cumsum(0).to(torch.int32)
    inputs = [torch.randn(sum(sizes), 64, device=device)]
    inputs += [torch.randn(96, 64, device=device) for _ in sizes]

    def one_by_one(rows: Tensor, *weights: Tensor) -> Tensor:
        parts = zip(rows.split(sizes), weights, strict=True)
        return torch.cat([functional.linear(part, weight) for part, weight in parts])

    return worst(lambda rows, *w: grouped_linear(rows, ends, w), one_by_one, inputs)


def check_attention(device: str) -> float:
    """Three sequences; the last one shares its first 100 tokens with the second."""
    spans = [Span(0, 5, 0), Span(5, 133, 5), Span(133, 512, 133, head=5, shared=100)]
    shapes = [(512, 8, 64), (512, 2, 64), (512, 2, 64)]
    inputs = [torch.randn(*shape, device=device) for shape in shapes]
    row = RowSpans(spans, torch.device(device))
    return worst(
        lambda q, k, v: attention_kernels.packed(q, k, v, row, None),
        lambda q, k, v: _dense_attention(q, k, v, spans),
        inputs,
    )


def _dense_attention(q: Tensor, k: Tensor, v: Tensor, spans: list[Span]) -> Tensor:
    """The formula, with a mask over the whole row."""
    seen = torch.zeros(len(q), len(k), dtype=torch.bool, device=q.device)
    for span in spans:
        own = torch.ones(span.size, span.size, dtype=torch.bool, device=q.device).tril()
        seen[span.start : span.end, span.own : span.own + span.size] = own
        seen[span.start : span.end, span.head : span.head + span.shared] = True
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
    scores = torch.einsum("shd,thd->hst", q, k) / q.shape[2] ** 0.5
    return torch.einsum("hst,thd->shd", scores.masked_fill(~seen, -torch.inf).softmax(-1), v)


def check_head(device: str) -> float:
    vocabulary = 1000
    labels = torch.randint(0, vocabulary, (300,), device=device)

    def formula(hidden: Tensor, weight: Tensor) -> Tensor:
        return (hidden @ weight.T).log_softmax(dim=1).gather(1, labels[:, None])[:, 0]

    def ours(hidden: Tensor, weight: Tensor) -> Tensor:
        return head.token_values(hidden, weight, labels, 1.0, None, vocabulary, entropy=False)[0]

    inputs = [torch.randn(300, 64, device=device), torch.randn(vocabulary, 64, device=device) / 8]
    return worst(ours, formula, inputs)


def check_logprobs(device: str) -> float:
    """A small stage in bf16 against the same weights in FP32: largest difference of log p, nats."""
    torch.manual_seed(0)
    whole = Stage(TINY, device, torch.float32)
    half = Stage(TINY, device, torch.bfloat16)
    half.load_state_dict(whole.state_dict())
    hidden = torch.randn(TINY.tokens, TINY.hidden, device=device)
    labels = torch.randint(0, TINY.vocabulary, (TINY.tokens,), device=device)
    with torch.no_grad():
        wanted = whole(hidden, labels, recompute=False)
        return float((half(hidden.bfloat16(), labels, recompute=False) - wanted).abs().max())


def seconds_of(run: Callable[[], Any], device: str, repetitions: int) -> float:
    """The fastest of several, after one that isn't counted."""
    run()
    best = float("inf")
    for _ in range(repetitions):
        _wait(device)
        began = time.perf_counter()
        run()
        _wait(device)
        best = min(best, time.perf_counter() - began)
    return best


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def matrix_peak(device: str, side: int) -> float:
    """Floating-point operations per second of one large bf16 product on this device."""
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * side**3 / seconds_of(lambda: left @ right, device, 5)


class Training:
    """Stage, FP32 gradients, FP32 parameters and both moments: 18 bytes per parameter."""

    def __init__(self, sizes: Sizes, device: str) -> None:
        self.stage = Stage(sizes, device, torch.bfloat16)
        self.parameters = list(self.stage.parameters())
        self.main = [nn.Parameter(p.detach().float()) for p in self.parameters]
        for own, main in zip(self.parameters, self.main, strict=True):
            main.grad = torch.zeros_like(main)
            own.register_post_accumulate_grad_hook(_into(main.grad))
        self.adam = torch.optim.AdamW(self.main, lr=1e-5, fused=True)
        generator = torch.Generator(device).manual_seed(1)
        shape = sizes.tokens, sizes.hidden
        self.hidden = torch.randn(*shape, device=device, generator=generator).bfloat16()
        self.labels = torch.randint(
            0, sizes.vocabulary, (sizes.tokens,), device=device, generator=generator
        )

    def compute(self) -> None:
        """Forward and backward pass of one row, every layer computed again."""
        hidden = self.hidden.detach().requires_grad_()
        self.stage(hidden, self.labels, recompute=True).sum().neg().backward()

    @torch.no_grad()
    def update(self) -> None:
        self.adam.step()
        for own, main in zip(self.parameters, self.main, strict=True):
            own.copy_(main)
            main.grad.zero_()


def _into(gradient: Tensor) -> Callable[[Tensor], None]:
    def add(parameter: Tensor) -> None:
        gradient.add_(parameter.grad)
        parameter.grad = None

    return add


def measure_stage(sizes: Sizes, device: str, peak: float) -> dict[str, float]:
    training = Training(sizes, device)
    update_s = seconds_of(training.update, device, 2)
    static = torch.cuda.memory_allocated() if device == "cuda" else 0
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    compute_s = seconds_of(training.compute, device, 4)
    top = torch.cuda.max_memory_allocated() if device == "cuda" else 0
    # Three passes count: recomputation is work that the model doesn't ask for.
    used = 3 * sizes.forward_operations / compute_s
    return {
        "tokens_per_s": round(sizes.tokens / compute_s, 1),
        "compute_s": round(compute_s, 4),
        "update_s": round(update_s, 4),
        "peak_tflops": round(peak / 1e12, 1),
        "mfu": round(used / peak, 4),
        "static_gib": round(static / 2**30, 2),
        "static_predicted_gib": round(18 * sizes.parameters / 2**30, 2),
        "activations_gib": round((top - static) / 2**30, 2),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cpu", action="store_true", help="tiny sizes on the CPU")
    cpu = parser.parse_args().cpu
    if not cpu and not torch.cuda.is_available():
        print(
            "bench-gpu: no CUDA device answers on this machine. Run it on one that has a GPU with "
            "120 GiB, or try the script with --cpu."
        )
        return 2
    device, sizes = ("cpu", TINY) if cpu else ("cuda", Sizes())
    torch.manual_seed(0)
    checks = {
        "experts": check_experts(device),
        "attention": check_attention(device),
        "head": check_head(device),
        "stage_logprobs": check_logprobs(device),
    }
    failed = [name for name, value in checks.items() if not value <= TOLERANCES[name]]
    for name, value in checks.items():
        print(f"{name:<24}{value:>12.5f}  {'differs' if name in failed else 'ok'}")
    found = measure_stage(sizes, device, matrix_peak(device, 256 if cpu else 8192))
    for name, number in found.items():
        print(f"{name:<24}{number:>12}")
    versions = {"torch": torch.__version__, "device": _device_name(device)}
    print(json.dumps({"checks": checks, "failed": failed, **found, **versions}))
    return 1 if failed else 0


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else "cpu"


if __name__ == "__main__":
    sys.exit(main())
