"""The number of engines: pods that don't come are given up, and tried again later."""

from typing import Any

import pytest

from sea_api.v1alpha1.elastic import Elastic
from sea_api.v1alpha1.elastic_status import ElasticRole
from sea_operator.policies.elastic_engines import EnginesSeen, step

START = 1_800_000_000.0
RANGE = Elastic(min_replicas=1, max_replicas=4, give_up_seconds=120, retry_seconds=600)


class Engines:
    """Engines whose pods a test takes and gives."""

    def __init__(self, replicas: int = 4) -> None:
        self.replicas, self.now = replicas, START
        self.memory: ElasticRole | None = None

    def after(self, seconds: float, *running: int, **seen: Any) -> ElasticRole:
        self.now += seconds
        ordinals = frozenset(running)
        observed = EnginesSeen(ordinals, **{"ready": ordinals, **seen})
        self.memory = step(self.memory, RANGE, self.replicas, observed, self.now)
        return self.memory


def sizes(found: ElasticRole) -> tuple[str, int, int]:
    return found.state, found.size, found.asked


def test_engines_begin_with_replicas_and_more_are_tried_later() -> None:
    engines = Engines(replicas=2)
    engines.after(0)
    assert sizes(engines.after(1, 0, 1)) == ("Reduced", 2, 2)
    assert sizes(engines.after(598, 0, 1)) == ("Reduced", 2, 2)
    assert sizes(engines.after(1, 0, 1)) == ("Reduced", 2, 4)
    assert sizes(engines.after(1, 0, 1, 2, 3)) == ("Full", 4, 4)


@pytest.mark.parametrize(
    ("running", "kept"),
    [
        ((0, 1), 2),
        ((0, 2), 3),  # the second is below one that works
        ((0, 3), 4),
        ((), 1),  # the smallest size
    ],
)
def test_pods_that_stay_away_above_the_last_one_that_works_are_given_up(
    running: tuple[int, ...], kept: int
) -> None:
    engines = Engines()
    engines.after(0, 0, 1, 2, 3)
    engines.after(1, *running)
    assert engines.after(119, *running).asked == 4
    found = engines.after(1, *running, why=" (j-rollout-2: no node has room)")
    assert found.asked == found.size == kept
    assert "no node has room" in found.message


def test_given_up_pods_are_asked_for_again() -> None:
    engines = Engines()
    engines.after(0, 0, 1, 2, 3)
    engines.after(1, 0, 1)
    assert engines.after(120, 0, 1).asked == 2
    assert engines.after(599, 0, 1).asked == 2
    assert sizes(engines.after(1, 0, 1)) == ("Reduced", 2, 4)
    assert sizes(engines.after(119, 0, 1)) == ("Reduced", 2, 4)
    found = engines.after(1, 0, 1, why=" (j-rollout-2: no node has room)")
    assert sizes(found) == ("Reduced", 2, 2)
    assert "no node has room" in found.message


def test_the_size_follows_pods_that_come_one_after_the_other() -> None:
    engines = Engines(replicas=2)
    engines.after(0, 0, 1)
    engines.after(600, 0, 1)
    assert sizes(engines.after(1, 0, 1, 2)) == ("Reduced", 3, 4)
    assert sizes(engines.after(1, 0, 1, 2)) == ("Reduced", 3, 4)
    engines.after(1, 0, 1, 3)
    assert sizes(engines.after(200, 0, 1, 3)) == ("Short", 3, 4), "the fourth works"
    assert sizes(engines.after(1, 0, 1, 2, 3)) == ("Full", 4, 4)


def test_asking_for_more_pods_is_no_lack_of_pods() -> None:
    """The job was not Ready for two minutes out of each twelve, for pods that nobody needs."""
    engines = Engines(replicas=2)
    for seconds in range(0, 3000, 10):
        assert engines.after(10 if seconds else 0, 0, 1).size == 2
    assert engines.memory is not None
    assert engines.memory.shrunk == []


def test_an_autoscalers_edit_takes_effect_at_once() -> None:
    engines = Engines()
    engines.after(0, 0, 1, 2, 3)
    engines.replicas = 3
    assert engines.after(1, 0, 1, 2, 3).asked == 3


def test_a_stage_without_episodes_stops_every_timer() -> None:
    engines = Engines()
    engines.after(0, 0, 1, 2, 3)
    engines.after(1, 0)
    assert sizes(engines.after(1000, active=False)) == ("Idle", 4, 4)
    assert sizes(engines.after(1000)) == ("Short", 4, 4)


def test_a_pass_that_changes_nothing_writes_nothing() -> None:
    engines = Engines()
    engines.after(0, 0, 1, 2, 3)
    before = engines.after(1, 0, 1, 2, 3)
    assert engines.after(50, 0, 1, 2, 3) is before


def test_a_narrower_range_asks_for_no_more_than_it_has() -> None:
    engines = Engines(replicas=2)
    engines.after(0, 0, 1)
    assert engines.after(600, 0, 1).asked == 4
    narrow = RANGE.model_copy(update={"max_replicas": 3})
    found = step(engines.memory, narrow, 2, EnginesSeen(frozenset({0, 1})), engines.now)
    assert sizes(found) == ("Reduced", 2, 2)


def test_an_engine_that_crashes_while_it_loads_never_counts() -> None:
    """Size and `Ready` went back and forth every retrySeconds."""
    engines, few = Engines(replicas=2), frozenset({0, 1})
    engines.after(0, 0, 1)
    found = []
    for _ in range(3):
        found.append(engines.after(600, 0, 1))
        found.append(engines.after(1, 0, 1, 2, ready=few))
        found.append(engines.after(120, 0, 1))
    assert {one.size for one in found} == {2}
    assert {one.asked for one in found} == {2, 4}
    assert engines.memory is not None
    assert engines.memory.shrunk == []


def test_an_engine_that_takes_long_to_load_stays_asked_for() -> None:
    engines, few = Engines(replicas=2), frozenset({0, 1})
    engines.after(0, 0, 1)
    engines.after(600, 0, 1)
    assert sizes(engines.after(1000, 0, 1, 2, 3, ready=few)) == ("Reduced", 2, 4)
    assert sizes(engines.after(1, 0, 1, 2, 3)) == ("Full", 4, 4)
