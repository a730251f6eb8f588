"""What each kind of GPU has and how much of it is reached: the planner's table of rates.

Peaks are NVIDIA's data sheets (dense bf16, without sparsity). Memory is what torch reports as
`total_memory`, which is below the marketed size. Fractions say how much of a peak real programs
reach; each names its source. Nothing in this table was measured with this project's own trainer.
"""

from dataclasses import dataclass

from sea_api.contract import GPU_PRODUCT_LABEL
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.pods import PodTemplate

GIB = 1 << 30


@dataclass(frozen=True)
class Gpu:
    """One kind; bandwidths are per GPU and direction."""

    name: str
    memory: int
    """Bytes that programs can use."""
    flops: float
    """Peak of dense bf16 matrix products, FLOP/s."""
    memory_bandwidth: float
    """Bytes/s."""
    network: float
    """Bytes/s of the GPU's share of the node's network cards."""
    host_link: float
    """Bytes/s between host memory and GPU (PCIe, measured rates rather than the nominal ones)."""
    dense_fraction: float = 0.40
    """Share of `flops` in training a dense model. Megatron-LM reports 41 to 47 % on H100."""
    expert_fraction: float = 0.25
    """Share of `flops` in training a mixture of experts: `EXPERT_SOURCE`."""


EXPERT_SOURCE = (
    "Megatron-MoE-ModelZoo, Qwen3-235B-A22B, bf16, 256 H100: 167 to 276 TFLOP/s per GPU at 4k"
    " tokens, 277 at 32k without forced balance, which is 17 to 28 % of 989"
)

CPU_NAME = "CPU"

H200 = Gpu("H200", int(139.8 * GIB), 989e12, 4.8e12, 50e9, 50e9)
H100 = Gpu("H100", int(79.1 * GIB), 989e12, 3.35e12, 50e9, 50e9)
A100 = Gpu("A100", int(79.2 * GIB), 312e12, 2.04e12, 25e9, 25e9)
B200 = Gpu("B200", int(178.4 * GIB), 2250e12, 8.0e12, 50e9, 50e9)
CPU = Gpu(CPU_NAME, 0, 60e9, 8e9, 0.6e9, 8e9, dense_fraction=0.5, expert_fraction=0.35)
"""One core of a server with AVX-512 in fp32; its memory is the pod's limit. Bandwidths measured for
this project: memcpy 3 to 17 GB/s, NIXL over TCP 0.4 to 0.9 GB/s."""

KINDS = {gpu.name: gpu for gpu in (H200, H100, A100, B200, CPU)}

ASSUMPTIONS = (
    "Peaks: NVIDIA's data sheets (dense bf16); memory: torch's total_memory.",
    "Training reaches 25 % of the peak with experts, 40 % without. Source: Megatron-LM's and"
    " Megatron-MoE-ModelZoo's tables for H100 with TransformerEngine (Qwen3-235B-A22B: 17 to 28 %)."
    " This project's trainer has run on no GPU yet.",
    "Next to ten RL steps that NeMo-RL published for H100, plans are too fast: up to 1.4 times for"
    " dense models, up to 2.1 times with experts (docs/performance.md).",
)


def of_product(product: str, memory_mib: int | None = None) -> Gpu | None:
    """The kind that a node's product label names; None for one that is not in the table.

    Args:
        memory_mib: the node's memory label, which tells a 40 GB card from one of 80 GB.
    """
    words = product.upper().replace("_", "-").split("-")
    # GH200 and H100 NVL are other cards, with other memory.
    found = next((KINDS[word] for word in words if word in KINDS and word != CPU_NAME), None)
    if found is None or "NVL" in words or "PCIE" in words:
        return None
    if memory_mib is not None and memory_mib << 20 < 0.9 * found.memory:
        return None
    return found


def selected(spec: Spec, template: PodTemplate) -> Gpu | None:
    """The kind that the role's node selector names, None if it names none that is known."""
    selector = {**spec.scheduling.node_selector, **template.node_selector}
    return of_product(selector.get(GPU_PRODUCT_LABEL, ""))
