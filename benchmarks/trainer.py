"""`make bench-trainer`: tokens per second of one RL step, side by side with others, on one core.

The demo's model (four layers, eight experts) on four batches: the demo's, of sequences of 3k and 8k
tokens, and of dialogues as long as tau-bench's, with its shares of prompt and of the model's own
tokens. All compute decoupled PPO on the same batch with the same weights, in turns, so that
a busy machine slows all of them; the fastest of several rounds counts (of 8k there is one).

A last step of ours is profiled: what its attention kernels and matrix products take alone, which
any program has to compute, bounds the ratio that leaving out everything else would give. The last
line is one JSON object `{"ratio_to_best": {shape: ours / the best of the others}, "bound": ...,
"share": {shape: {"attention": ..., "products": ...}}, "tokens_per_s": ..., "loss": ...}`.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
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
from sea_devcluster import interrupts
from sea_runtime.trainer import megatron_workarounds

Range = tuple[int, int]


@dataclass(frozen=True)
class Shape:
    """A batch, and how it is cut."""

    groups: int
    size: int
    """Trajectories per group."""
    prompt: Range
    """Tokens; the trajectories of a group share them."""
    length: Range
    """Of a trajectory, its prompt included."""
    padded: int
    """Most tokens of the others' padded batches. A long sequence is alone in one: with others in it
    the mask of the padding would keep torch from its causal kernel."""
    row: int
    """Most tokens of our rows: they hold a whole group, which shares its prompt."""
    rounds: int
    turn: int = 20
    """Tokens of each of the model's turns; twice as many of others follow."""


CONTEXT = 10240
SHAPES = {
    "demo": Shape(16, 8, (30, 50), (60, 140), 3072, 3072, 5),
    "3k": Shape(1, 8, (1000, 1400), (2600, 3072), 4096, 16384, 2),
    "8k": Shape(1, 4, (2500, 3500), (7600, 8192), 8192, 24576, 1),
    # As tau-bench's published airline dialogues (gpt-4o, 60 of them) in tokens of Qwen's tokenizer:
    # a prompt of 3,916 (policy and 14 tools), 13 turns of 73, 2,092 of users and tools; 6,972 in
    # all, 4,660 to 9,802 but for a tenth at each end.
    "tau2": Shape(1, 4, (3800, 4000), (4200, 9700), 9802, 32768, 1, turn=73),
}
KERNELS = {
    "attention": ("aten::_scaled_dot_product_flash_attention",),
    "products": ("aten::mm", "aten::addmm", "aten::bmm"),
}
"""Beginnings of the names of torch's operations."""


def batch_of(shape: Shape) -> Batch:
    """Groups of trajectories with one prompt each; the model's turns are every third part."""
    rng = np.random.default_rng(7)
    tokens, masks, gains, group_of = [], [], [], []
    for group in range(shape.groups):
        start = rng.integers(10, 900, rng.integers(*shape.prompt))
        for member in range(shape.size):
            rest = rng.integers(10, 900, rng.integers(*shape.length) - len(start))
            tokens.append(np.concatenate([start, rest]))
            turns = (np.arange(len(rest)) // shape.turn) % 3 == 0
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
    """The demo's model with a long context; random weights."""
    from safetensors.numpy import save_file

    from sea_data.tiny_model import model_folder

    sizes = {"vocab_size": model_folder.MAX_VOCABULARY, "max_position_embeddings": CONTEXT}
    config = model_folder.ARCHITECTURE | sizes
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    weights = model_folder.initial_weights(config, 0)
    save_file(weights, str(folder / "model.safetensors"), metadata={"format": "pt"})
    return folder


@dataclass
class Measured:
    """Measurements of one shape, by program."""

    tokens_per_s: dict[str, float]
    """Per second of processor time: on a shared machine the others' work doesn't count."""
    losses: dict[str, float]
    """Of the first step."""
    share: dict[str, float]
    """Of our step's time, by kind of kernel."""

    @property
    def ratio(self) -> float:
        """Ours over the best of the others."""
        return self.tokens_per_s["ours"] / self._best

    @property
    def bound(self) -> float:
        """The ratio if our step were its attention and its products alone."""
        return self.ratio / sum(self.share.values())

    @property
    def _best(self) -> float:
        return max(rate for name, rate in self.tokens_per_s.items() if name != "ours")


def measure(shape: Shape, folder: Path, rounds: int) -> Measured:
    batch = batch_of(shape)
    tokens = dict.fromkeys(PROGRAMS, shape.padded) | {"ours": shape.row}
    programs = {name: make(folder, tokens[name]) for name, make in PROGRAMS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    losses: dict[str, float] = {}
    for _ in range(rounds):
        for name, one in programs.items():
            began = time.process_time()
            loss = one.step(batch)
            seconds[name].append(time.process_time() - began)
            losses.setdefault(name, loss)
    rates = {name: batch.count / min(found) for name, found in seconds.items()}
    return Measured(rates, losses, shares(lambda: programs["ours"].step(batch)))


def shares(step: Callable[[], object]) -> dict[str, float]:
    """Shares of a step's time, by kind of kernel."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        step()
    events = seen.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    return {
        kind: sum(e.self_cpu_time_total for e in events if e.key.startswith(names)) / total
        for kind, names in KERNELS.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, help="of each shape (default: fewer of longer ones)")
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    given = parser.parse_args()
    interrupts.raise_on_signals()  # its temporary folder is removed
    torch.set_num_threads(1)
    megatron_workarounds.apply(cuda=False, te=False)
    found: dict[str, Measured] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = tiny_model(Path(temporary) / "model")
        _join(Path(temporary), folder)
        for shape in given.shapes:
            rounds = given.rounds or SHAPES[shape].rounds
            found[shape] = measure(SHAPES[shape], folder, rounds)
            _print(shape, found[shape])
    print(json.dumps(_summary(found)))


def _print(shape: str, one: Measured) -> None:
    for name, rate in one.tokens_per_s.items():
        share = rate / one.tokens_per_s["ours"]
        print(f"{shape:<6}{name:<16}{rate:>10.0f} tokens/s{share:>8.2f}", end="")
        print(f"   loss {one.losses[name]:.5f}", flush=True)
    kinds = ", ".join(f"{kind} {share:.0%}" for kind, share in one.share.items())
    print(
        f"{shape:<6}our step: {kinds}; nothing else would be {one.bound:.2f} times the best other"
    )


def _summary(found: dict[str, Measured]) -> dict[str, Any]:
    def each(of: Callable[[Measured], Any]) -> dict[str, Any]:
        return {shape: of(one) for shape, one in found.items()}

    return {
        "ratio_to_best": each(lambda one: round(one.ratio, 3)),
        "bound": each(lambda one: round(one.bound, 3)),
        "share": each(lambda one: {kind: round(part, 3) for kind, part in one.share.items()}),
        "tokens_per_s": each(
            lambda one: {name: round(rate) for name, rate in one.tokens_per_s.items()}
        ),
        "loss": each(lambda one: one.losses),
    }


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
