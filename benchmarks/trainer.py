"""`make bench-trainer`: tokens per second of one RL step, side by side with others, on one core.

The demo's model (four layers, eight experts) on three batches: the demo's, and of sequences of 3k
and 8k tokens. All compute decoupled PPO on the same batch with the same weights, in turns, so that
a busy machine slows all of them; the fastest of several rounds counts. The last line is one JSON
object
`{"ratio_to_best": {shape: ours / the best of the others}, "tokens_per_s": ..., "loss": ...}`.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from trainer_rivals import (
    CLIP_HIGH,
    CLIP_LOW,
    RATE,
    UPPER,
    Batch,
    LikeTRL,
    MegatronLoop,
    Transformers,
)

from sea_api.v1alpha1.roles import TrainerParallelism
from sea_runtime.trainer import megatron_workarounds

CAPACITY = {"demo": 3072, "3k": 4096, "8k": 8192}
"""Most tokens of a padded batch. A long sequence is alone in one: with others in it the mask of the
padding would keep torch from its causal kernel."""
ROW_TOKENS = {"demo": 3072, "3k": 8192, "8k": 16384}
"""Most tokens of our rows: both trajectories of a group, which share their prompt."""


def batch_of(shape: str) -> Batch:
    """Groups of trajectories with one prompt each; the model's turns are every third part."""
    rng = np.random.default_rng(7)
    groups, size, prompt, longest = {
        "demo": (16, 8, (30, 50), (60, 140)),
        "3k": (2, 2, (1000, 1400), (2600, 3072)),
        "8k": (1, 2, (2500, 3500), (7600, 8192)),
    }[shape]
    tokens, masks, gains, group_of = [], [], [], []
    for group in range(groups):
        start = rng.integers(10, 900, rng.integers(*prompt))
        for member in range(size):
            rest = rng.integers(10, 900, rng.integers(*longest) - len(start))
            tokens.append(np.concatenate([start, rest]))
            turns = (np.arange(len(rest)) // 20) % 3 == 0
            masks.append(np.concatenate([np.zeros(len(start), bool), turns]).astype(np.uint8))
            gains.append(float(member % 2) * 2 - 1)
            group_of.append(group)
    behavior = [np.where(mask, -6.5, 0.0).astype(np.float32) for mask in masks]
    return Batch(tokens, masks, behavior, gains, group_of)


class Ours:
    """The trainer's own step (`rl.py`), of one rank."""

    def __init__(self, folder: Path, capacity: int) -> None:
        from sea_api.v1alpha1.stages import RLStage
        from sea_runtime.parallel import hf_config, parallel_layout
        from sea_runtime.trainer import hf_weights, model
        from sea_runtime.trainer.optimizer import Optimizer

        shape = hf_config.load(folder)
        layout = parallel_layout.plan(TrainerParallelism(), shape, 1)
        built = model.build(shape, layout.place(0), torch.float32, capacity)
        hf_weights.load(built, folder)
        context = SimpleNamespace(status=SimpleNamespace(alive=lambda: None), control=_OneRank())
        # What `rl._train` reads of a StageTrainer.
        self.stage: Any = SimpleNamespace(
            model=built,
            optimizer=Optimizer(built, RATE),
            context=context,
            memory=SimpleNamespace(naming=lambda _: nullcontext()),
            reported_sum=lambda sums: [*map(float, sums)],
        )
        self.block = RLStage.model_validate(
            {
                "clipLow": CLIP_LOW,
                "clipHigh": CLIP_HIGH,
                "importanceMode": "Cap",
                "importanceUpper": UPPER,
                "learningRate": RATE,
            }
        )

    def step(self, batch: Batch) -> float:
        from sea_runtime.trainer import rl
        from sea_runtime.trainer.rl_batch import RLBatch

        versions = [np.where(mask, 0, -1).astype(np.int32) for mask in batch.masks]
        whole = RLBatch(
            tokens=batch.tokens,
            masks=batch.masks,
            behavior=batch.behavior,
            versions=versions,
            group_of=batch.group_of,
            advantages=batch.advantages,
            groups=max(batch.group_of) + 1,
            mean_reward=0.5,
            dropped_groups=0,
            crc32=0,
        )
        return rl._train(self.stage, self.block, whole, 0, RATE)["loss"]


class _OneRank:
    """`ControlGroup` of a single rank."""

    def sum(self, values: list[float]) -> list[float]:
        return values

    def max(self, value: float) -> float:
        return value

    def all_gather(self, value: Any) -> list[Any]:
        return [value]


PROGRAMS: dict[str, Callable[[Path, int], Any]] = {
    "ours": Ours,
    "megatron loop": MegatronLoop,
    "as TRL": LikeTRL,
    "transformers": Transformers,
}


def tiny_model(folder: Path) -> Path:
    """The demo's model with a context of 8k; random weights."""
    from safetensors.numpy import save_file

    from sea_data.tiny_model import model_folder

    sizes = {"vocab_size": model_folder.MAX_VOCABULARY, "max_position_embeddings": 8192}
    config = model_folder.ARCHITECTURE | sizes
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    weights = model_folder.initial_weights(config, 0)
    save_file(weights, str(folder / "model.safetensors"), metadata={"format": "pt"})
    return folder


def measure(shape: str, folder: Path, rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """Tokens per second of processor time and the first loss, by program."""
    batch = batch_of(shape)
    tokens = dict.fromkeys(PROGRAMS, CAPACITY[shape]) | {"ours": ROW_TOKENS[shape]}
    programs = {name: make(folder, tokens[name]) for name, make in PROGRAMS.items()}
    losses = {name: one.step(batch) for name, one in programs.items()}
    best = dict.fromkeys(programs, float("inf"))
    for _ in range(rounds):
        for name, one in programs.items():
            # Of this process: on a shared machine the others' work doesn't count.
            began = time.process_time()
            one.step(batch)
            best[name] = min(best[name], time.process_time() - began)
    return {name: batch.count / seconds for name, seconds in best.items()}, losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=4, help="of each shape (default 4)")
    parser.add_argument("--shapes", nargs="+", default=list(CAPACITY), choices=list(CAPACITY))
    given = parser.parse_args()
    torch.set_num_threads(1)
    megatron_workarounds.apply(cuda=False, te=False)
    rates, losses, ratios = {}, {}, {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = tiny_model(Path(temporary) / "model")
        _join(Path(temporary), folder)
        for shape in given.shapes:
            rates[shape], losses[shape] = measure(shape, folder, given.rounds)
            others = max(rate for name, rate in rates[shape].items() if name != "ours")
            ratios[shape] = round(rates[shape]["ours"] / others, 3)
            for name, rate in rates[shape].items():
                share = rate / rates[shape]["ours"]
                print(f"{shape:<6}{name:<16}{rate:>10.0f} tokens/s{share:>8.2f}", end="")
                print(f"   loss {losses[shape][name]:.5f}", flush=True)
    rounded = {
        shape: {name: round(rate) for name, rate in found.items()} for shape, found in rates.items()
    }
    print(json.dumps({"ratio_to_best": ratios, "tokens_per_s": rounded, "loss": losses}))


def _join(folder: Path, model: Path) -> None:
    from sea_runtime.parallel import hf_config, parallel_layout
    from sea_runtime.trainer import process_groups

    dist.init_process_group(
        "gloo", store=dist.FileStore(str(folder / "store"), 1), rank=0, world_size=1
    )
    layout = parallel_layout.plan(TrainerParallelism(), hf_config.load(model), 1)
    process_groups.build_model_parallel_groups(layout, 60.0)


if __name__ == "__main__":
    main()
