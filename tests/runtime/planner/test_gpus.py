"""Kinds of GPUs by the labels of nodes."""

import pytest

from sea_runtime.planner import gpus


@pytest.mark.parametrize(
    ("product", "memory_mib", "kind"),
    [
        ("NVIDIA-H200", 143771, "H200"),
        ("NVIDIA-H100-80GB-HBM3", 81559, "H100"),
        ("NVIDIA-A100-SXM4-80GB", 81920, "A100"),
        ("NVIDIA-A100-SXM4-40GB", 40960, None),
        ("NVIDIA-B200", None, "B200"),
        ("NVIDIA-H100-NVL", 95830, None),
        ("NVIDIA-H100-PCIe", 81559, None),
        ("NVIDIA-GH200-480GB", 97871, None),
        ("Tesla-T4", 15360, None),
        ("", None, None),
        ("CPU", None, None),
    ],
)
def test_a_product_label_names_a_kind(
    product: str, memory_mib: int | None, kind: str | None
) -> None:
    found = gpus.of_product(product, memory_mib)
    assert (found.name if found else None) == kind


def test_no_kind_promises_more_than_its_label() -> None:
    """torch reports less than the card's own tools: what the labels say in MiB."""
    labels = {"H200": 143771, "H100": 81559, "A100": 81920, "B200": 183359}
    for name, mib in labels.items():
        assert gpus.KINDS[name].memory <= mib << 20
