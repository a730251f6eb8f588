"""Full collections don't visit again what they have left alive, but for once an hour."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from sea_operator.gc_pauses import THAW_SECONDS, install


class Node:
    """Something that refers to itself."""

    def __init__(self) -> None:
        self.me = self


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()
    callback = install(clock)
    yield clock
    gc.callbacks.remove(callback)
    gc.unfreeze()


def test_what_a_full_collection_leaves_is_not_visited_again(clock: Clock) -> None:
    kept = [Node() for _ in range(1000)]
    gc.collect()
    assert not any(isinstance(one, Node) for one in gc.get_objects())
    assert len(kept) == 1000


def test_a_cycle_that_dies_young_is_freed(clock: Clock) -> None:
    seen = weakref.ref(Node())
    gc.collect()
    assert seen() is None


def test_a_cycle_that_was_frozen_is_freed_within_two_collections_after_an_hour(
    clock: Clock,
) -> None:
    node = Node()
    seen = weakref.ref(node)
    gc.collect()
    del node
    gc.collect()
    assert seen() is not None
    clock.now = THAW_SECONDS
    gc.collect()
    gc.collect()
    assert seen() is None
