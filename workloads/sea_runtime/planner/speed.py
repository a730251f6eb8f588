"""Seconds of training and of generation, from counts of FLOP and bytes. Pure.

Training is bound by matrix products, so its time is FLOP over a reached rate. Generation reads the
weights and the KV cache once per token step, so its time is bytes over a reached bandwidth, plus a
fixed time per layer. Both are rooflines with fractions from `gpus.py` and below; `TRAINING_NOTES`
and `GENERATION_NOTES` say them on a page.
"""

from dataclasses import dataclass

from sea_api.v1alpha1.trainer_memory import Recomputation
from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.parallel.parallel_layout import ParallelLayout
from sea_runtime.planner import parameters
from sea_runtime.planner.engine_memory import EngineSetup, kv_token_bytes, parameters_per_gpu
from sea_runtime.planner.gpus import Gpu
from sea_runtime.planner.workload import Workload

READ_FRACTION = 0.6
"""Share of the memory bandwidth that an engine reads weights and KV cache at: assumed."""
PREFILL_FRACTION = 0.4
"""Share of the peak FLOP/s that an engine computes prompts at: assumed."""
LAYER_SECONDS = 80e-6
"""Per layer and token step of an engine over several GPUs, whatever the batch: kernel launches and
two all-reduces. Assumed; Qwen3-235B at TP 8 then needs 9 ms per token for a single sequence."""
LAYER_SECONDS_ALONE = 25e-6
"""The same for an engine of one GPU."""
ROW_FILL = 0.95
"""Tokens of a packed row over its length; rows are balanced (`trainer/packing.py`)."""
ROW_IMBALANCE = 1.05
"""Work of a microbatch's heaviest row over the mean."""

GENERATION_NOTES = (
    f"Engines read weights and KV cache at {READ_FRACTION:.0%} of the memory bandwidth, compute"
    f" prompts at {PREFILL_FRACTION:.0%} of the peak, and need {LAYER_SECONDS * 1e6:.0f} us per"
    " layer and token step over several GPUs: assumed, not measured.",
)


def forward_flops(shape: ModelShape, tokens: float, squared: float) -> float:
    """One forward pass over causal sequences.

    Args:
        tokens: of all sequences.
        squared: sum of their squared lengths.
    """
    # Scores and their product with the values: 2 * 2 * position * heads * head_dim per token, whose
    # positions average half the length.
    attention = 2.0 * shape.layers * shape.heads * shape.head_dim * squared
    return 2.0 * parameters.active(shape) * tokens + attention


@dataclass(frozen=True)
class TrainingTime:
    """One optimizer step of one batch."""

    compute_s: float
    """Forward and backward passes, recomputation, imbalance of rows."""
    bubble_s: float
    """Idle time of pipeline stages."""
    proximal_s: float
    """The forward pass that gives proximal log-probabilities, with several minibatches."""
    reduce_s: float
    """Gradients over data-parallel replicas."""
    update_s: float
    """The optimizer."""
    microbatches: int
    """Per data-parallel rank."""
    flops_per_gpu: float
    """FLOP/s of the model per GPU over the step, recomputation not counted."""

    @property
    def seconds(self) -> float:
        return self.compute_s + self.bubble_s + self.proximal_s + self.reduce_s + self.update_s


def microbatches(workload: Workload, layout: ParallelLayout, row_tokens: int) -> int:
    """Per step and data-parallel rank."""
    rows = workload.computed / (row_tokens * ROW_FILL)
    # Half a row more: the last microbatch is rarely full, and all replicas have as many.
    return max(1, round(rows / layout.data + 0.5))


def training(
    shape: ModelShape,
    layout: ParallelLayout,
    gpu: Gpu,
    workload: Workload,
    *,
    row_tokens: int,
    recomputation: Recomputation,
    minibatches: int = 1,
) -> TrainingTime:
    """One RL step."""
    fraction = gpu.expert_fraction if shape.experts else gpu.dense_fraction
    rate = layout.world_size * gpu.flops * fraction
    forward = forward_flops(shape, workload.computed, workload.squared)
    # The fraction counts the model's own three passes; whole layers again are a fourth.
    passes = 4 if recomputation is Recomputation.FULL else 3
    compute = passes * forward / rate * ROW_IMBALANCE
    proximal = forward / rate * ROW_IMBALANCE if minibatches > 1 else 0.0
    rows = microbatches(workload, layout, row_tokens)
    # One-forward-one-backward: (p - 1) / m of the computing time, for p stages and m microbatches
    # of an update. Source: Narayanan et al., https://arxiv.org/abs/2104.04473, section 2.2.
    idle = (layout.pipeline - 1) / max(1, rows // minibatches)
    held = max(
        (parameters.of_rank(shape, layout, stage) for stage in range(layout.pipeline)),
        key=lambda count: count.total,
    )
    replicas = layout.data * layout.context
    # A reduce-scatter of FP32 gradients and an all-gather of bf16 parameters (4 + 2 bytes each):
    # in a ring of many ranks every byte passes a rank once.
    reduced = held.dense * 6 if replicas > 1 else 0
    reduced += held.experts * 6 if layout.expert_data > 1 else 0
    # Gradient, main copy and two moments are read, three of them and the parameter written.
    touched = 30 * (held.dense / replicas + held.experts / layout.expert_data)
    seconds = TrainingTime(
        compute_s=compute,
        bubble_s=(compute + proximal) * idle,
        proximal_s=proximal,
        reduce_s=minibatches * reduced / gpu.network,
        update_s=minibatches * touched / gpu.memory_bandwidth,
        microbatches=rows,
        flops_per_gpu=0.0,
    )
    reached = 3 * forward / layout.world_size / seconds.seconds
    return TrainingTime(**{**vars(seconds), "flops_per_gpu": reached})


def token_step_seconds(engine: EngineSetup, gpu: Gpu, sequences: float, tokens: float) -> float:
    """One token for each of `sequences`, which have `tokens` tokens behind them on average."""
    shape = engine.shape
    count = parameters.of_model(shape)
    # An expert is read if any sequence chose it.
    # With independent choices of k of E experts, none of n sequences reads a given one with the
    # probability (1 - k / E)^n.
    missed = 1.0 - shape.experts_per_token / shape.experts if shape.experts else 0.0
    unread = count.experts * missed**sequences if shape.experts else 0.0
    held = parameters_per_gpu(shape, engine.tensor)
    read = (held - unread / engine.tensor) * engine.element
    # Bandwidth or arithmetic, whichever takes longer: with many sequences it is arithmetic.
    read += sequences * tokens * kv_token_bytes(engine)
    compute = 2 * parameters.active(shape) * sequences / (engine.tensor * gpu.flops)
    layer = LAYER_SECONDS if engine.tensor > 1 else LAYER_SECONDS_ALONE
    by_reading = read / (gpu.memory_bandwidth * READ_FRACTION)
    return max(by_reading, compute / PREFILL_FRACTION) + shape.layers * layer


def prefill_seconds(engine: EngineSetup, gpu: Gpu, tokens: float) -> float:
    """Computing `tokens` prompt tokens on one engine."""
    flops = 2.0 * parameters.active(engine.shape) * tokens
    return flops / (engine.tensor * gpu.flops * PREFILL_FRACTION)


@dataclass(frozen=True)
class Generation:
    """One engine at steady concurrency."""

    episodes: float
    """At one time."""
    generating: float
    """Sequences in the engine at one time; the others wait for users and tools."""
    token_s: float
    """Seconds between two tokens of a sequence."""
    episode_s: float
    """Seconds of a mean trajectory."""

    @property
    def episodes_per_s(self) -> float:
        return self.episodes / self.episode_s


def generation(engine: EngineSetup, gpu: Gpu, workload: Workload, episodes: float) -> Generation:
    """An engine with `episodes` at a time, found by iteration: more wait if it is faster."""
    waiting = workload.mean_turns * workload.turn_seconds
    prompts = workload.mean_tokens - workload.generated
    prefill = prefill_seconds(engine, gpu, prompts)
    generating, token, busy = episodes, 0.0, 1.0
    for _ in range(30):
        token = token_step_seconds(engine, gpu, generating, workload.sequence_tokens / 2)
        # Prompts of other episodes are computed in between.
        busy = workload.generated * token + episodes * prefill
        share = busy / (busy + waiting)
        # Damped: the plain iteration swings between two values.
        generating = (generating + max(1.0, episodes * share)) / 2
    return Generation(episodes, generating, token, busy + waiting)
