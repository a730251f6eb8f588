"""The trainer's size: pods that go, pods that come, and how long each is waited for."""

from dataclasses import dataclass
from typing import Any

import pytest

from sea_api.v1alpha1.elastic import TrainerElastic
from sea_api.v1alpha1.elastic_status import ElasticRole
from sea_operator.elasticity import sent_size
from sea_operator.policies.elastic_trainer import TrainerSeen, step

START = 1_800_000_000.0
RANGE = TrainerElastic(
    min_replicas=1, max_replicas=4, give_up_seconds=120, retry_seconds=600, stable_seconds=60
)


@dataclass
class Trainer:
    """A trainer whose pods a test takes and gives."""

    elastic: TrainerElastic = RANGE
    sizes: tuple[int, ...] = (1, 2, 4)
    replicas: int = 4
    now: float = START
    memory: ElasticRole | None = None

    def after(self, seconds: float, *running: int, **seen: Any) -> ElasticRole:
        """A pass, `seconds` after the last one."""
        self.now += seconds
        observed = TrainerSeen(frozenset(running), **seen)
        self.memory = step(self.memory, self.elastic, self.sizes, self.replicas, observed, self.now)
        return self.memory


def shrunk() -> Trainer:
    """One that has lost two of four pods for good, a moment ago."""
    trainer = Trainer()
    for seconds, pods in ((0, (0, 1, 2, 3)), (1, (0, 2, 3)), (10, (0, 2)), (120, (0, 2))):
        trainer.after(seconds, *pods)
    return trainer


def test_a_trainer_begins_with_replicas_and_asks_for_the_whole_range() -> None:
    found = Trainer(replicas=2).after(0, 0, 1)
    assert (found.state, found.size, found.asked) == ("Reduced", 2, 4)
    assert Trainer().after(0).state == "Full"


def test_pods_that_come_back_in_time_change_no_size() -> None:
    trainer = Trainer()
    trainer.after(0, 0, 1, 2, 3)
    assert trainer.after(1, 0, 1, 2).state == "Short"
    assert trainer.after(119, 0, 1, 2).size == 4
    found = trainer.after(0.5, 0, 1, 2, 3)
    assert (found.state, found.size, found.shrunk) == ("Full", 4, [])


def test_pods_that_stay_away_leave_the_largest_size_that_runs() -> None:
    trainer = Trainer()
    trainer.after(0, 0, 1, 2, 3)
    trainer.after(1, 0, 2, 3)
    found = trainer.after(120, 0, 2, 3)
    assert (found.state, found.size, found.asked) == ("Reduced", 2, 4)
    assert "2 trainer pods instead of 4" in found.message
    assert len(found.shrunk) == 1


def test_below_the_smallest_size_training_waits() -> None:
    trainer = Trainer(elastic=replace_range(min_replicas=2), sizes=(2, 4))
    trainer.after(0, 0, 1, 2, 3)
    trainer.after(1, 0)
    found = trainer.after(1000, 0)
    assert (found.state, found.size) == ("Short", 4)
    assert "the smallest size that the layout and the elastic range admit is 2" in found.message


def test_a_rule_without_resize_makes_training_wait() -> None:
    trainer = Trainer()
    trainer.after(0, 0, 1, 2, 3)
    trainer.after(1, 0, 1, may_shrink=False)
    found = trainer.after(1000, 0, 1, may_shrink=False)
    assert (found.state, found.size) == ("Short", 4)
    assert "another action than Resize" in found.message


def test_missing_pods_are_given_up_and_asked_for_again() -> None:
    trainer = shrunk()
    assert trainer.after(119, 0, 2).asked == 4
    found = trainer.after(1, 0, 2)
    assert (found.asked, found.size) == (3, 2), "pod 1 is below one that runs"
    assert trainer.after(599, 0, 2).asked == 3
    assert trainer.after(1, 0, 2).asked == 4


def test_pods_that_are_back_are_watched_and_taken_in_after_a_checkpoint() -> None:
    trainer = shrunk()
    found = trainer.after(1, 0, 1, 2, 3)
    assert (found.state, found.size, found.growing_to, sent_size(found)) == ("Returning", 2, 4, 2)
    assert trainer.after(59, 0, 1, 2, 3).state == "Returning"
    found = trainer.after(1, 0, 1, 2, 3)
    assert (found.state, found.size, sent_size(found)) == ("Growing", 2, 4)
    assert trainer.after(500, 0, 1, 2, 3).state == "Growing", "as long as the attempt runs"
    found = trainer.after(1, 0, 1, 2, 3, attempt_over=True)
    assert (found.state, found.size, sent_size(found)) == ("Full", 4, 4)


def test_pods_that_go_again_while_they_are_watched_change_nothing() -> None:
    trainer = shrunk()
    trainer.after(1, 0, 1, 2, 3)
    assert trainer.after(30, 0, 2).state == "Reduced"
    trainer.after(30, 0, 1, 2, 3)
    assert trainer.after(59, 0, 1, 2, 3).state == "Returning", "the watch began again"


def test_a_node_that_comes_and_goes_is_watched_longer_each_time() -> None:
    trainer, waits = shrunk(), []
    for _ in range(6):
        trainer.after(1, 0, 1, 2, 3)
        began = trainer.now
        while trainer.after(5, 0, 1, 2, 3).state != "Growing":
            pass
        waits.append(round(trainer.now - began))
        trainer.after(1, 0, 1, 2, 3, attempt_over=True)
        trainer.after(1, 0, 2)
        trainer.after(121, 0, 2)
    assert waits == [60, 120, 240, 480, 960, 960]
    trainer.after(4000, 0, 2)
    assert trainer.after(0, 0, 2).shrunk == [], "an hour later nothing of it counts"


def test_growing_is_never_taken_back_before_the_attempt_has_ended() -> None:
    """Its processes may have stopped already, and don't run the same attempt a second time."""
    trainer = shrunk()
    trainer.after(1, 0, 1, 2, 3)
    trainer.after(60, 0, 1, 2, 3)
    found = trainer.after(1, 0, 2)
    assert (found.state, sent_size(found)) == ("Growing", 4)


def test_an_edit_of_replicas_sets_the_size_and_one_of_the_range_bounds_it() -> None:
    trainer = shrunk()
    trainer.replicas = 1
    assert trainer.after(1, 0, 2).size == 1
    trainer = Trainer()
    trainer.after(0, 0, 1, 2, 3)
    trainer.elastic, trainer.sizes, trainer.replicas = replace_range(max_replicas=2), (1, 2), 4
    found = trainer.after(1, 0, 1, 2, 3)
    assert (found.size, found.asked, found.state) == (2, 2, "Full")


@pytest.mark.parametrize("ended", [False, True])
def test_under_a_coordinator_that_knows_no_sizes_the_trainer_keeps_that_of_the_spec(
    ended: bool,
) -> None:
    """It was `Growing` for ever: such a coordinator never says that the attempt has ended."""
    trainer = Trainer()
    trainer.after(0, 0, 1, 2, 3)
    trainer.after(1, 0, 2)
    trainer.after(120, 0, 2)
    trainer.after(1, 0, 1, 2, 3)
    assert trainer.after(60, 0, 1, 2, 3).state == "Growing"
    found = trainer.after(1, 0, 1, 2, 3, sized=False, attempt_over=ended)
    assert (found.state, found.size, found.asked, sent_size(found)) == ("Idle", 4, 4, 4)
    assert "keeps 4 trainer pods" in found.message
    assert trainer.after(900, 0, 2, sized=False) is found
    assert trainer.after(1, active=False).message == ""
    assert trainer.after(1, active=False, sized=False).message == found.message
    assert trainer.after(1, 0, 1, 2, 3).state == "Full"


def test_a_stage_without_training_stops_every_timer() -> None:
    trainer = Trainer()
    trainer.after(0, 0, 1, 2, 3)
    trainer.after(1, 0)
    assert trainer.after(1000, active=False).state == "Idle"
    found = trainer.after(1000)
    assert (found.state, found.size) == ("Full", 4)
    assert trainer.after(1).state == "Short"


def test_a_pass_that_changes_nothing_writes_nothing() -> None:
    trainer = shrunk()
    before = trainer.after(1, 0, 2)
    assert trainer.after(50, 0, 2) is before


def replace_range(**changes: int) -> TrainerElastic:
    return RANGE.model_copy(update=changes)


@pytest.mark.parametrize("running", [(1, 2), (2, 3), (0, 3)])
def test_any_pods_that_run_will_do(running: tuple[int, ...]) -> None:
    """The coordinator gives ranks to those that call, whatever their numbers."""
    trainer = Trainer()
    trainer.after(0, 0, 1, 2, 3)
    trainer.after(1, *running)
    assert trainer.after(120, *running).size == 2


def test_pods_on_their_way_are_waited_for_and_hold_no_rank_yet() -> None:
    trainer = Trainer()
    trainer.after(0, 0, 1, 2, 3)
    assert trainer.after(1, 0, 1, coming=frozenset({2, 3})).state == "Full"
    shorter = shrunk()
    found = shorter.after(500, 0, 2, coming=frozenset({1, 3}))
    assert (found.state, found.size, found.asked) == ("Reduced", 2, 4)


def test_a_narrower_range_gives_up_the_pods_that_nobody_needs_any_more() -> None:
    """They were asked for, and held their GPUs, for as long as the job ran."""
    trainer = Trainer(replicas=2)
    assert trainer.after(0, 0, 1).asked == 4
    trainer.elastic, trainer.sizes = RANGE.model_copy(update={"max_replicas": 2}), (1, 2)
    found = trainer.after(1, 0, 1, 2)
    assert (found.state, found.size, found.asked) == ("Full", 2, 2)
    assert trainer.after(1, 0, 1) is found


def test_a_wider_range_is_tried_at_once() -> None:
    """A full trainer has no timer: the rest of its new range was asked for by chance."""
    trainer = Trainer(replicas=2, sizes=(1, 2))
    assert trainer.after(0, 0, 1).state == "Full"
    trainer.sizes = (1, 2, 4)
    found = trainer.after(1, 0, 1)
    assert (found.state, found.size, found.asked) == ("Reduced", 2, 4)
    assert trainer.after(1, 0, 1) is found
