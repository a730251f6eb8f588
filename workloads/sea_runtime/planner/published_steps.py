"""RL steps that others measured, next to the plan's. Pure; rows of `published.py`.

NeMo-RL publishes mean and longest length, batch, layouts and GPUs of each run, so nothing is chosen
here: its performance summary of release 0.6 (of 0.4 for models that are no longer in it), and the
recipes that it names for the split of the GPUs, recomputation and the passes of a step.
https://docs.nvidia.com/nemo/rl/latest/about/performance-summary.html

AReaL (v0.3, https://arxiv.org/abs/2505.24298: hours for 1,000 steps) and verl (its page on the
fully asynchronous trainer) state the longest response only: their rows are ranges.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from sea_api.v1alpha1.roles import TrainerParallelism
from sea_api.v1alpha1.trainer_memory import Recomputation
from sea_runtime.parallel import parallel_layout
from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.planner import builtin_models, gpus, pipelines, published, simulation, speed
from sea_runtime.planner.engine_memory import EngineSetup
from sea_runtime.planner.gpus import Gpu
from sea_runtime.planner.published import Comparison
from sea_runtime.planner.simulated_pipeline import Pipeline
from sea_runtime.planner.workload import Workload

H20 = Gpu("H20", int(95.6 * gpus.GIB), 148e12, 4.0e12, 50e9, 50e9)
QWEN25_1B5 = ModelShape(28, 1536, 12, 2, 128, 8960, 0, 0, 0, True, 151936, True, 1e6, 1e-6, 32768)
QWEN25_7B = ModelShape(28, 3584, 28, 4, 128, 18944, 0, 0, 0, True, 152064, False, 1e6, 1e-6, 32768)
LLAMA31_8B = ModelShape(
    32, 4096, 32, 8, 128, 14336, 0, 0, 0, False, 128256, False, 5e5, 1e-5, 131072
)
STEPS = 4
"""Simulated per version that may be in flight; the first quarter isn't counted. A pipeline begins
with all of them empty, so its first batches come in a burst."""
MIN_GROUPS = 16
"""Fewer groups per batch are not simulated: a synchronous step waits for the longest of them."""
PAUSE_SECONDS = 2.0
"""Pause of an engine per version: assumed."""
SHORTEST, LONGEST = 1 / 32, 1 / 2
"""Mean length over the longest response, where a source states no mean."""


@dataclass(frozen=True)
class SetUp:
    """One published run."""

    system: str
    published_s: float
    shape: ModelShape
    gpu: Gpu
    generating: int
    """GPUs; of a synchronous run all of them, which then train."""
    training: int
    work: Workload
    staleness: int
    """0: synchronous."""
    tensor: int = 1
    """GPUs per engine."""
    ways: Mapping[str, int] = field(default_factory=dict)
    """The trainer's layout."""
    minibatches: int = 1
    forwards: int = 0
    """Forward passes of a step before its training: log-probabilities of the policy and of a
    reference model."""
    recomputation: Recomputation = Recomputation.NONE

    @property
    def what(self) -> str:
        if not self.staleness:
            return f"synchronous step, {self.training} GPUs"
        return f"asynchronous step, {self.generating} + {self.training} GPUs"

    def seconds(self) -> float:
        """Predicted, of one step."""
        return simulation.simulate(self._pipeline(), STEPS * (1 + self.staleness)).step_seconds

    def training_seconds(self) -> float:
        layout = parallel_layout.plan(
            TrainerParallelism(**dict(self.ways)), self.shape, self.training
        )
        time = speed.training(
            self.shape,
            layout,
            self.gpu,
            self.work,
            row_tokens=self.work.context,
            recomputation=self.recomputation,
            minibatches=self.minibatches,
        )
        passes = 4 if self.recomputation is Recomputation.FULL else 3
        forward = time.compute_s / passes
        # `speed.training` counts one pass for proximal log-probabilities itself.
        return time.seconds - time.proximal_s + self.forwards * forward

    def _pipeline(self) -> Pipeline:
        """A part of the batch on the same part of the engines: the same times, simulated faster."""
        train_s = self.training_seconds()
        engines = self.generating // self.tensor
        part = math.gcd(engines, max(1, self.work.groups // MIN_GROUPS))
        engines, work = engines // part, replace(self.work, groups=self.work.groups // part)
        engine = EngineSetup(self.shape, self.tensor, 2, work.context)
        ahead = max(1, self.staleness)
        return Pipeline(
            engines=engines,
            slots=-(-ahead * work.trajectories // engines),
            token_seconds=pipelines.token_seconds(engine, self.gpu, work),
            draw=pipelines.draws(uncut(work)),
            group_size=work.group_size,
            batch_groups=work.groups,
            max_staleness=self.staleness,
            max_groups=(self.staleness + 1) * work.groups,
            train_s=lambda _: train_s,
            pause_s=PAUSE_SECONDS,
            shared=self.staleness == 0,
        )


def uncut(work: Workload) -> Workload:
    """Lengths whose mean is the given one after those beyond the context are cut.

    `Workload.mean_tokens` is the mean before: with a mean near the longest the two are far apart.
    """

    def mean(tokens: float) -> float:
        return sum(replace(work, mean_tokens=tokens).quantiles(200)) / 200

    low, high = work.mean_tokens, 20 * work.mean_tokens
    for _ in range(30):  # bisection: `mean` grows with its argument
        middle = (low + high) / 2
        low, high = (middle, high) if mean(middle) < work.mean_tokens else (low, middle)
    return replace(work, mean_tokens=high)


def comparisons() -> list[Comparison]:
    """All rows; takes a few seconds."""
    return [*published.updates(), *stated(), *ranges()]


def stated() -> Iterator[Comparison]:
    """Runs whose lengths are published."""
    for one in nemo_rl():
        yield Comparison(
            one.system,
            one.what,
            one.published_s,
            one.seconds(),
            f"lengths published: mean {one.work.mean_tokens:,.0f} of {one.work.context:,}",
        )


def ranges() -> Iterator[Comparison]:
    """Runs whose mean length isn't published."""
    for one in (*areal(), *verl()):
        predicted = [
            replace(one, work=replace(one.work, mean_tokens=share * one.work.context)).seconds()
            for share in (SHORTEST, LONGEST)
        ]
        yield Comparison(
            one.system,
            one.what,
            one.published_s,
            predicted[0],
            f"mean length {SHORTEST:.0%} to {LONGEST:.0%} of {one.work.context:,} tokens",
            predicted[1],
        )


def _qwen3(size: str) -> ModelShape:
    found = builtin_models.of_source(f"Qwen3-{size}")
    assert found is not None
    return found


def nemo_rl() -> Iterator[SetUp]:
    """GRPO on H100 in bf16, prompts of OpenMathInstruct-2 with 32 responses each."""
    large, small, dense = map(_qwen3, ("235B-A22B", "30B-A3B", "32B"))
    full = Recomputation.FULL
    wide = {"tensor": 2, "context": 2, "expert": 16, "pipeline": 8}
    four = {"tensor": 4, "pipeline": 4}

    def run(
        name: str,
        shape: ModelShape,
        seconds: float,
        split: tuple[int, int],
        mean: int,
        staleness: int,
        tensor: int,
        ways: Mapping[str, int],
        recomputation: Recomputation = Recomputation.NONE,
    ) -> SetUp:
        # 512 trajectories per update; with a penalty on the distance to a reference model, whose
        # log-probabilities are a pass, as are the policy's.
        groups, longest = (16, 8192) if shape is large else (64, 4096)
        work = Workload(groups, 32, longest, mean, 0.93, turns=1, turn_seconds=0.01)
        return SetUp(
            f"NeMo-RL, {name}",
            seconds,
            shape,
            gpus.H100,
            *split,
            work,
            staleness,
            tensor,
            ways,
            minibatches=work.trajectories // 512,
            forwards=2,
            recomputation=recomputation,
        )

    yield run("Llama-3.1-8B", LLAMA31_8B, 97.7, (16, 16), 1060, 0, 1, {"pipeline": 2}, full)
    yield run("Llama-3.1-8B", LLAMA31_8B, 74.6, (8, 8), 1129, 1, 1, {}, full)
    yield run("Qwen3-32B", dense, 393, (32, 32), 3206, 0, 4, four)
    yield run("Qwen3-32B", dense, 215, (32, 32), 3207, 1, 4, four)
    yield run("Qwen3-30B-A3B", small, 192, (32, 32), 3203, 0, 2, {"expert": 8})
    yield run("Qwen3-30B-A3B", small, 152, (16, 16), 3201, 1, 2, {"expert": 8, "pipeline": 2})
    yield run("Qwen3-30B-A3B", small, 34.5, (64, 128), 3206, 8, 2, {"expert": 8})
    yield run("Qwen3-235B-A22B", large, 395, (128, 128), 5698, 0, 16, wide, full)
    yield run("Qwen3-235B-A22B", large, 312, (256, 256), 5713, 0, 16, wide, full)
    apart = {"tensor": 4, "expert": 16, "pipeline": 8}
    yield run("Qwen3-235B-A22B", large, 231, (128, 128), 5721, 1, 8, apart, full)


def areal() -> Iterator[SetUp]:
    """AReaL's steps, without a mean length, which `ranges` sets."""
    work = Workload(512, 16, 27_648, 0, 0.95, turns=1, turn_seconds=0.01)
    one = SetUp(
        "AReaL, 1.5B on H800",
        147.6,
        QWEN25_1B5,
        published.H800,
        128,
        128,
        work,
        0,
        minibatches=4,
        forwards=1,
    )
    yield one
    yield replace(one, published_s=53.3, generating=96, training=32, staleness=4)


def verl() -> Iterator[SetUp]:
    """verl's; its asynchronous mode uses the engines' log-probabilities as proximal ones."""
    work = Workload(512, 16, 28_672, 0, 0.9, turns=1, turn_seconds=0.01)
    one = SetUp(
        "verl, 7B on H20", 356.3, QWEN25_7B, H20, 128, 128, work, 0, minibatches=16, forwards=1
    )
    yield one
    yield replace(one, published_s=150.6, generating=64, training=64, staleness=4, forwards=0)
