"""Two ranks' worth of NIXL sources, as a trainer would be: `python publisher_program.py BASE`.

Each line on stdin is a JSON request {version, save, scale?, after?, dtype?, damage?}; the answer is
a line `VERSION ` with the JSON of the published WeightVersion. The tensors are saved in the file
`save`, each shard's bytes in `save`.shard0 and .shard1.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from sea_runtime.parallel.engine_blocks import EngineCuts, blocks
from sea_runtime.transport import manifest
from sea_runtime.transport.nixl_link import NixlSource
from sea_runtime.wire.weights import Block, Shard, WeightVersion

TENSOR_PARALLEL = 2
"""The workers of the engine that the blocks are cut for."""
Tensors = dict[str, torch.Tensor]


class Rank:
    """Serves some of the model's tensors from its own buffer."""

    def __init__(self, number: int, tensors: Tensors) -> None:
        self.number = number
        self.names = list(tensors)
        self.buffer = manifest.allocate(manifest.total_bytes(self._plan(tensors)))
        self.source = NixlSource(f"rank{number}")
        self.address = self.source.register(self.buffer)

    @staticmethod
    def _plan(tensors: Tensors) -> list[Block]:
        cuts = EngineCuts(tensor=TENSOR_PARALLEL, kv_heads=2)
        return manifest.plan(tensors, lambda name, shape: blocks(name, shape, cuts))

    def pack(self, tensors: Tensors, save: str) -> Shard:
        own = {name: tensors[name] for name in self.names}
        plan = self._plan(own)
        nbytes = manifest.total_bytes(plan)
        packed = manifest.pack(plan, own.items(), self.buffer)
        Path(f"{save}.shard{self.number}").write_bytes(self.buffer[:nbytes].numpy().tobytes())
        return Shard(
            rank=self.number,
            nbytes=nbytes,
            blocks=packed,
            nixl_agent=self.source.name,
            nixl_metadata=self.source.metadata_b64(),
            nixl_address=self.address,
        )


def noisy(base: Tensors, request: dict[str, Any]) -> Tensors:
    """The base model with noise that depends on the version; with `after`, the file of another
    version, that one with a few changed elements."""
    torch.manual_seed(request["version"])
    if "after" in request:
        before = load_file(request["after"])
        return {
            name: torch.where(torch.rand_like(one) < 0.04, one * 1.05, one)
            for name, one in sorted(before.items())
        }
    scale = request.get("scale", 0.05)
    return {name: base[name] + scale * torch.randn_like(base[name]) for name in sorted(base)}


def publish(ranks: list[Rank], base: Tensors, request: dict[str, Any]) -> WeightVersion:
    dtype = getattr(torch, request.get("dtype", "float32"))
    tensors = {name: one.to(dtype) for name, one in noisy(base, request).items()}
    save_file(tensors, request["save"])
    shards = [rank.pack(tensors, request["save"]) for rank in ranks]
    if request.get("damage"):
        ranks[1].buffer[777] ^= 255
    number = request["version"]
    return WeightVersion(
        stream="policy", version=number, attempt=1, stage="rl", step=number, shards=shards
    )


def main() -> None:
    base = load_file(f"{sys.argv[1]}/model.safetensors")
    names = sorted(base)
    ranks = [Rank(i, {name: base[name] for name in names[i::2]}) for i in range(2)]
    for line in sys.stdin:
        version = publish(ranks, base, json.loads(line))
        print("VERSION " + version.model_dump_json(), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
