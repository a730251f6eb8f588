"""How the ranks of one attempt share the model: which layouts this trainer can run.

Pure. Experts are spread over the world (expert parallelism), everything else is replicated and its
batch divided (data parallelism), optimizer states are sharded over the replicas.
"""

from dataclasses import dataclass

from sea_api.v1alpha1.roles import TrainerParallelism
from sea_runtime.trainer.errors import LayoutError


@dataclass(frozen=True)
class Layout:
    rank: int
    world: int
    expert: int
    """Expert-parallel size."""

    @property
    def expert_rank(self) -> int:
        """Megatron puts neighbouring ranks into one expert-parallel group."""
        return self.rank % self.expert

    @property
    def writes_experts(self) -> bool:
        """Whether this rank's experts are the copy that is published and exported."""
        return self.rank < self.expert

    def local_experts(self, experts: int) -> range:
        """Global indices of the experts that live on this rank."""
        per_rank = experts // self.expert
        return range(self.expert_rank * per_rank, (self.expert_rank + 1) * per_rank)


def plan(rank: int, world: int, wish: TrainerParallelism, experts: int) -> Layout:
    """The layout of `world` ranks; LayoutError says what to change in `trainer.parallelism`."""
    others = wish.tensor * wish.pipeline * wish.context * wish.expert_tensor
    if others != 1:
        raise LayoutError(
            "This trainer runs with tensor, pipeline, context and expertTensor parallelism of 1: "
            "spread the model by trainer.parallelism.expert."
        )
    expert = wish.expert if experts else 1
    if world % expert:
        raise LayoutError(
            f"{world} training processes can't form groups of {expert}: choose "
            "trainer.parallelism.expert so that it divides replicas x processes."
        )
    if experts % expert:
        raise LayoutError(
            f"The model's {experts} experts can't be divided by {expert} ranks: choose "
            "trainer.parallelism.expert so that it divides the number of experts."
        )
    return Layout(rank, world, expert)
