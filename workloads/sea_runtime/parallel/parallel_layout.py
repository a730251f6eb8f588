"""How the ranks of one attempt share a model: sizes of the groups, each rank's coordinates. Pure.

Megatron-core's order "tp-cp-ep-dp-pp": neighboring ranks share a tensor-parallel group, then a
context-parallel one; the ranks of a pipeline stage are contiguous. The experts of a stage fold the
same ranks another way: expert-tensor, expert, and expert-data parallel.

Pipeline stages aren't interleaved. With m microbatches a rank idles (pipeline - 1) of
(m + pipeline - 1) turns: 8 % for 12 stages and 128 microbatches. Interleaving halves that and sends
twice as much.

`refusals` are the sentences about what a model can't do; the coordinator yields them before a pod
with GPUs exists, `plan` raises them in the trainer. What the spec alone shows is refused at
admission, in the same words (`sea_api.v1alpha1.role_rules`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import lcm

from sea_api.v1alpha1 import role_rules
from sea_api.v1alpha1.roles import TrainerParallelism
from sea_runtime.errors import RuntimeFailure
from sea_runtime.parallel.hf_config import ModelShape

FIELD = "trainer.parallelism"


class LayoutError(RuntimeFailure):
    """The parallel layout doesn't fit the model or the number of processes."""


@dataclass(frozen=True)
class ParallelLayout:
    """The layout of one attempt: how many ways each thing is split."""

    world_size: int
    tensor: int
    pipeline: int
    context: int
    expert: int
    expert_tensor: int
    stage_layers: tuple[int, ...]
    """Transformer layers of each pipeline stage."""

    @property
    def data(self) -> int:
        """Rows of tokens that are computed at a time: replicas of everything but the experts."""
        return self.world_size // (self.tensor * self.context * self.pipeline)

    @property
    def expert_data(self) -> int:
        """Replicas of each expert."""
        return self.world_size // (self.expert_tensor * self.expert * self.pipeline)

    @property
    def stage_ranks(self) -> int:
        """Ranks of one pipeline stage."""
        return self.world_size // self.pipeline

    @property
    def sequence_parallel(self) -> bool:
        """Norms and residuals are split along the tokens of a row among the tensor ranks.

        Always with tensor parallelism: experts need it in training, and it divides activations.
        """
        return self.tensor > 1

    @property
    def sequence_multiple(self) -> int:
        """Each sequence is padded to a multiple of it: a context rank has its chunks r and
        2 * context - 1 - r, so that all ranks have the same number of earlier tokens to attend to.
        """
        return 2 * self.context if self.context > 1 else 1

    @property
    def row_multiple(self) -> int:
        """Divides the tokens of a row: the part of each context rank is split by `tensor`."""
        return lcm(self.tensor * self.context, self.sequence_multiple)

    @cached_property
    def places(self) -> tuple["Place", ...]:
        """All ranks."""
        return tuple(Place(self, rank) for rank in range(self.world_size))

    def place(self, rank: int) -> "Place":
        return self.places[rank]

    def __str__(self) -> str:
        sizes = {
            "tensor": self.tensor,
            "pipeline": self.pipeline,
            "context": self.context,
            "expert": self.expert,
            "expertTensor": self.expert_tensor if self.expert > 1 else 1,
            "data": self.data,
        }
        return ", ".join(f"{name} {size}" for name, size in sizes.items() if size > 1) or "one rank"


@dataclass(frozen=True)
class Place:
    """One rank's coordinates."""

    layout: ParallelLayout
    rank: int

    @property
    def _within(self) -> int:
        """Position within the pipeline stage."""
        return self.rank % self.layout.stage_ranks

    @property
    def stage(self) -> int:
        return self.rank // self.layout.stage_ranks

    @property
    def tensor_rank(self) -> int:
        return self._within % self.layout.tensor

    @property
    def context_rank(self) -> int:
        return self._within // self.layout.tensor % self.layout.context

    @property
    def data_rank(self) -> int:
        """Which row of a microbatch the rank works on."""
        return self._within // (self.layout.tensor * self.layout.context)

    @property
    def expert_tensor_rank(self) -> int:
        return self._within % self.layout.expert_tensor

    @property
    def expert_rank(self) -> int:
        return self._within // self.layout.expert_tensor % self.layout.expert

    @property
    def expert_data_rank(self) -> int:
        return self._within // (self.layout.expert_tensor * self.layout.expert)

    @property
    def first_stage(self) -> bool:
        return self.stage == 0

    @property
    def last_stage(self) -> bool:
        return self.stage == self.layout.pipeline - 1

    @property
    def layers(self) -> range:
        """Global indices of the stage's transformer layers."""
        first = sum(self.layout.stage_layers[: self.stage])
        return range(first, first + self.layout.stage_layers[self.stage])

    @property
    def reports(self) -> bool:
        """True if this rank's sums over tokens count.

        The log-probabilities of a row's part exist on each tensor rank of the last stage, with the
        same values: one of them reports.
        """
        return self.last_stage and self.tensor_rank == 0

    def local_experts(self, experts: int) -> range:
        """Global indices of this rank's experts, of the `experts` of a layer."""
        per_rank = experts // self.layout.expert
        return range(self.expert_rank * per_rank, (self.expert_rank + 1) * per_rank)


def stages(layers: int, pipeline: int) -> tuple[int, ...]:
    """Transformer layers per stage, where the embedding and the loss count as a layer each.

    What is left over goes to the stages in the middle, which have neither; with fewer than two
    units per stage the ends come first, or they would have no layer.
    """
    units, rest = divmod(layers + 2, pipeline)
    middle, ends = list(range(1, pipeline - 1)), [0, pipeline - 1]
    larger = (ends + middle if units < 2 else middle + ends)[:rest]
    counts = [units + (stage in larger) for stage in range(pipeline)]
    counts[0] -= 1
    counts[-1] -= 1
    return tuple(counts)


def _indivisible(field: str, ways: int, what: str, count: int) -> str:
    return (
        f"{FIELD}.{field} is {ways}, which doesn't divide the model's {count} {what}: choose a"
        " divisor"
    )


def refusals(requested: TrainerParallelism, shape: ModelShape) -> Iterator[str]:
    """Why the model can't be laid out as requested, on any number of processes; no final stop."""
    tensor, groups = requested.tensor, shape.kv_heads
    if shape.heads % tensor:
        yield _indivisible("tensor", tensor, "attention heads", shape.heads)
    elif groups % tensor and tensor % groups:
        yield (
            f"{FIELD}.tensor is {tensor}, which is neither a divisor nor a multiple of the"
            f" model's {groups} key-value heads: choose one"
        )
    elif (rows := (shape.heads + 2 * groups) * shape.head_dim) % tensor:
        # Only with fewer groups than ranks: each has an equal run of the fused rows.
        yield _indivisible("tensor", tensor, "rows of query, key and value", rows)
    if requested.pipeline > shape.layers + 2:
        yield (
            f"{FIELD}.pipeline is {requested.pipeline}, but the model has {shape.layers} layers,"
            " and embedding and loss count as one each: choose at most"
            f" {shape.layers + 2} stages"
        )
    if not shape.experts:
        if shape.ffn % tensor:
            yield _indivisible("tensor", tensor, "MLP columns (intermediate_size)", shape.ffn)
        return
    if shape.experts % requested.expert:
        yield _indivisible("expert", requested.expert, "experts", shape.experts)
    ways = role_rules.expert_tensor(requested)
    if shape.expert_ffn % ways:
        columns = "columns of an expert (moe_intermediate_size)"
        yield _indivisible("expertTensor", ways, columns, shape.expert_ffn)


def dense(requested: TrainerParallelism) -> TrainerParallelism:
    """The layout of a dense model next to one with experts, in the same job: it has none."""
    return requested.model_copy(update={"expert": 1, "expert_tensor": None})


def plan(requested: TrainerParallelism, shape: ModelShape, world_size: int) -> ParallelLayout:
    """The layout of `world_size` ranks.

    Raises:
        LayoutError: the message says what to change in `trainer.parallelism`.
    """
    if not shape.experts:
        requested = dense(requested)
    # Only the first: what follows from it would be refused again in other words.
    for sentence in [*refusals(requested, shape), *_misfits(requested, world_size)]:
        raise LayoutError(f"{sentence}.")
    return ParallelLayout(
        world_size=world_size,
        tensor=requested.tensor,
        pipeline=requested.pipeline,
        context=requested.context,
        expert=requested.expert,
        expert_tensor=role_rules.expert_tensor(requested),
        stage_layers=stages(shape.layers, requested.pipeline),
    )


def _misfits(requested: TrainerParallelism, world_size: int) -> Iterator[str]:
    """What the number of processes refuses. The API admits no such spec, but an attempt may have
    fewer processes than its spec.
    """
    for rule, ways in (
        (role_rules.ATTENTION_WORLD, role_rules.attention_ways(requested)),
        (role_rules.EXPERT_WORLD, role_rules.expert_ways(requested)),
    ):
        if world_size % ways:
            yield f"This attempt has {world_size} processes, no multiple of {ways}: {rule.message}"
