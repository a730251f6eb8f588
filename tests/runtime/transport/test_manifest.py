"""A shard's buffer returns exactly the tensors that were packed, and any damage is detected."""

import pytest
import torch

from sea_runtime.parallel.regions import cut
from sea_runtime.transport import manifest
from sea_runtime.wire.weights import Block


def _tensors() -> dict[str, torch.Tensor]:
    return {
        "a": torch.arange(5, dtype=torch.float32),
        "b": torch.randn(3, 7).to(torch.bfloat16),
        "c": torch.tensor(3.0),
    }


def _parts(blocks: list[Block], buffer: torch.Tensor) -> list[torch.Tensor]:
    return [buffer[one.offset : one.offset + one.nbytes] for one in blocks]


def test_offsets_are_aligned_and_do_not_overlap() -> None:
    """Each tensor begins at a multiple of 64 bytes after the one before."""
    entries = manifest.plan(_tensors())
    assert [(e.offset, e.nbytes) for e in entries] == [(0, 20), (64, 42), (128, 4)]
    assert manifest.total_bytes(entries) == 132
    assert manifest.total_bytes([]) == 0


def test_pack_then_unpack_returns_equal_tensors() -> None:
    """Shapes, dtypes and values survive."""
    tensors = _tensors()
    entries = manifest.plan(tensors)
    buffer = manifest.allocate(manifest.total_bytes(entries))
    assert buffer.data_ptr() % manifest.ALIGNMENT == 0
    packed = manifest.pack(entries, tensors.items(), buffer)
    assert manifest.corrupt(packed, _parts(packed, buffer)) == []
    for block in packed:
        assert manifest.view(block, buffer).dtype == tensors[block.name].dtype
        assert torch.equal(manifest.view(block, buffer), tensors[block.name])


def test_blocks_are_cut_out_of_a_tensor() -> None:
    """Columns, which are no run of a row-major tensor, become one each."""
    tensor = torch.arange(24, dtype=torch.float32).view(4, 6)
    planned = manifest.plan({"a": tensor}, lambda _, shape: cut(shape, 1, [2]))
    buffer = manifest.allocate(manifest.total_bytes(planned))
    left, right = manifest.pack(planned, [("a", tensor)], buffer)
    assert (left.start, left.shape, right.start, right.shape) == ([0, 0], [4, 2], [0, 2], [4, 4])
    assert torch.equal(manifest.view(left, buffer), tensor[:, :2])
    assert torch.equal(manifest.view(right, buffer), tensor[:, 2:])


@pytest.mark.parametrize(("position", "name"), [(0, "a"), (70, "b"), (131, "c")])
def test_one_changed_byte_names_its_tensor(position: int, name: str) -> None:
    """A buffer that is overwritten while it is read is detected."""
    tensors = _tensors()
    entries = manifest.plan(tensors)
    buffer = manifest.allocate(manifest.total_bytes(entries))
    packed = manifest.pack(entries, tensors.items(), buffer)
    buffer[position] ^= 1
    assert manifest.corrupt(packed, _parts(packed, buffer)) == [name]


@pytest.mark.parametrize(
    "wrong", [{}, {"a": torch.zeros(4)}, {"a": torch.zeros(5, dtype=torch.float64)}]
)
def test_tensors_that_do_not_fit_the_plan_are_refused(wrong: dict[str, torch.Tensor]) -> None:
    """Missing, of another shape, of another dtype."""
    entries = manifest.plan({"a": torch.zeros(5)})
    with pytest.raises(manifest.ManifestMismatchError, match="The tensor a"):
        manifest.pack(entries, wrong.items(), manifest.allocate(manifest.total_bytes(entries)))


def test_unknown_dtype_is_a_sentence() -> None:
    """A newer trainer's dtype raises no AttributeError."""
    with pytest.raises(manifest.ManifestMismatchError, match="float3"):
        manifest.dtype_of("float3")
