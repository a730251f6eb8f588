"""A shard is fetched by the first transport that brings the right bytes, or not at all."""

import pytest
import torch

from sea_runtime.rollout.vllm_plugin import staging
from sea_runtime.rollout.vllm_plugin.staging import NIXL, OBJECT_STORE, FetchError
from sea_runtime.transport import manifest
from sea_runtime.wire.weights import Shard, WeightVersion

TENSORS = {"a": torch.arange(10, dtype=torch.float32), "b": torch.ones(3)}


class Bytes:
    """A reader with fixed bytes; None: its source is gone."""

    def __init__(self, content: torch.Tensor | None) -> None:
        self.content = content

    def read(self, shard: Shard, out: torch.Tensor) -> None:
        if self.content is None:
            raise ConnectionError("gone")
        out.copy_(self.content)


def packed(nixl: bool = True, url: bool = True) -> tuple[Shard, torch.Tensor]:
    entries = manifest.plan(TENSORS)
    buffer = manifest.allocate(entries)
    shard = Shard(
        rank=0,
        nbytes=buffer.numel(),
        tensors=manifest.pack(entries, TENSORS.items(), buffer),
        nixl_agent="a" if nixl else None,
        nixl_metadata="m" if nixl else None,
        nixl_address=1 if nixl else None,
        object_url="s3://b/k" if url else None,
    )
    return shard, buffer


def damaged(buffer: torch.Tensor) -> torch.Tensor:
    copy = buffer.clone()
    copy[5] ^= 1
    return copy


@pytest.mark.parametrize(
    ("nixl", "stored", "expected"),
    [("right", "right", NIXL), ("damaged", "right", OBJECT_STORE), ("gone", "right", OBJECT_STORE)],
)
def test_falls_back_to_the_object_store(nixl: str, stored: str, expected: str) -> None:
    """Also if the trainer overwrote its buffer during the read."""
    shard, buffer = packed()
    contents = {"right": buffer, "damaged": damaged(buffer), "gone": None}
    readers = {NIXL: Bytes(contents[nixl]), OBJECT_STORE: Bytes(contents[stored])}
    out = torch.zeros_like(buffer)
    version = WeightVersion(
        stream="policy", version=1, attempt=1, stage="rl", step=1, shards=[shard]
    )
    assert staging.fetch_version(version, {0: out}, readers) == expected
    assert torch.equal(out, buffer)


@pytest.mark.parametrize(
    ("nixl", "url", "words"),
    [(True, False, "wrong checksums, first a"), (False, False, "no transport offered")],
)
def test_without_a_working_transport_the_error_says_why(nixl: bool, url: bool, words: str) -> None:
    shard, buffer = packed(nixl, url)
    with pytest.raises(FetchError, match=words):
        staging.fetch_shard(shard, torch.zeros_like(buffer), {NIXL: Bytes(damaged(buffer))})
