"""RNG states of a checkpoint and ranks of another size, checked by Megatron's own validation."""

import pytest
from megatron.core.dist_checkpointing.validation import _validate_objects_for_key

from sea_runtime.trainer.checkpoint.state import rng_shards


@pytest.mark.parametrize(("saved", "world"), [(1, 1), (2, 2), (2, 4), (2, 3), (4, 2), (3, 2)])
def test_every_state_is_loaded_once_and_each_rank_gets_one(saved: int, world: int) -> None:
    """Validation refuses a shard that two main replicas load, or that none does."""
    ranks = [rng_shards(rank, world, saved) for rank in range(world)]
    assert all(ranks)
    _validate_objects_for_key([(rank, one) for rank, places in enumerate(ranks) for one in places])
    assert [places[0].global_offset[0] for places in ranks] == [r % saved for r in range(world)]
