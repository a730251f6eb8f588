"""Nothing lost, nothing counted twice, whatever is killed, doubled or reordered."""

from sea_runtime.coordinator.ledger.groups import (
    EPISODE_MOVES,
    GROUP_MOVES,
    EpisodeState,
    GroupState,
)
from sea_testing.coordinator import ledger_histories


def test_in_every_random_history_each_episode_counts_once() -> None:
    assert ledger_histories.play() == len(ledger_histories.HISTORIES)


def test_the_tables_of_moves_are_complete() -> None:
    """Every state has its row, so that no move is allowed by omission."""
    assert set(GROUP_MOVES) == set(GroupState)
    assert set(EPISODE_MOVES) == set(EpisodeState)
