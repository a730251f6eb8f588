"""How the ranks of one attempt share the model: which layouts this trainer can run. Pure.

Experts are spread over the ranks (expert parallelism); everything else is replicated and the batch
is divided (data parallelism); optimizer states are sharded over the replicas.
"""

from dataclasses import dataclass

from sea_api.v1alpha1.roles import TrainerParallelism
from sea_runtime.errors import RuntimeFailure


class LayoutError(RuntimeFailure):
    """The parallel layout doesn't fit the model or the number of processes."""


@dataclass(frozen=True)
class ParallelLayout:
    """One rank's place in the layout."""

    rank: int
    world_size: int
    expert: int
    """Expert-parallel size."""

    @property
    def expert_rank(self) -> int:
        """Megatron puts neighboring ranks into one expert-parallel group."""
        return self.rank % self.expert

    @property
    def writes_experts(self) -> bool:
        """True if this rank's experts are the replica that is published and exported."""
        return self.rank < self.expert

    def local_experts(self, experts: int) -> range:
        """Global indices of this rank's experts, of the model's `experts`."""
        per_rank = experts // self.expert
        return range(self.expert_rank * per_rank, (self.expert_rank + 1) * per_rank)


def plan(rank: int, world_size: int, requested: TrainerParallelism, experts: int) -> ParallelLayout:
    """The layout of `world_size` ranks; a dense model (`experts` 0) has no expert parallelism.

    Raises:
        LayoutError: the message says what to change in `trainer.parallelism`.
    """
    expert = requested.expert if experts else 1
    if world_size % expert:
        raise LayoutError(
            f"{world_size} training processes can't form groups of {expert}: choose "
            "trainer.parallelism.expert so that it divides replicas x processes."
        )
    if experts % expert:
        raise LayoutError(
            f"The model's {experts} experts can't be divided by {expert} ranks: choose "
            "trainer.parallelism.expert so that it divides the number of experts."
        )
    return ParallelLayout(rank, world_size, expert)
