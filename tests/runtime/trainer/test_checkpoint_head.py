"""Decisions on head.json: who may commit, what it names, what may be deleted."""

import pytest

from sea_runtime.trainer.checkpoint import head as heads
from sea_runtime.trainer.checkpoint.periodic_export import is_due
from sea_runtime.trainer.errors import FencedError
from sea_runtime.wire.checkpoints import Entry, Head, entry_of, gone_back, missing_text


def entry(step: int, attempt: int = 1) -> Entry:
    key = f"step-{step:06d}-a{attempt}/manifest.json"
    return Entry(step=step, version=step, manifest_key=key, bytes=1, time=0.0)


def test_a_newer_attempt_takes_over_and_keeps_the_checkpoints() -> None:
    head = Head(attempt=1, checkpoints=[entry(4)])
    assert heads.fence(head, 3) == Head(attempt=3, opened=3, checkpoints=[entry(4)])
    assert heads.fence(heads.fence(head, 3), 3).attempt == 3


@pytest.mark.parametrize("decide", ["fence", "append"])
def test_an_older_attempt_is_refused(decide: str) -> None:
    head = Head(attempt=2)
    with pytest.raises(FencedError, match="Attempt 2 owns the checkpoints"):
        heads.fence(head, 1) if decide == "fence" else heads.append(head, entry(1), 1, 2, None)


@pytest.mark.parametrize(
    ("last", "every", "names"),
    [(1, None, [40]), (2, None, [30, 40]), (9, None, [10, 20, 30, 40]), (1, 20, [20, 40])],
)
def test_retention(last: int, every: int | None, names: list[int]) -> None:
    head = Head(attempt=1, checkpoints=[entry(s) for s in (10, 20, 30)])
    after, dropped = heads.append(head, entry(40), 1, last, every)
    assert [one.step for one in after.checkpoints] == names
    assert {one.step for one in dropped} == {10, 20, 30, 40} - set(names)


def test_what_an_export_reads_is_not_dropped() -> None:
    head = Head(attempt=1, checkpoints=[entry(10), entry(20)])
    after, dropped = heads.append(head, entry(30), 1, 1, None, exported=10)
    assert [one.step for one in after.checkpoints] == [10, 30]
    assert [one.step for one in dropped] == [20]


@pytest.mark.parametrize(
    ("step", "before", "every", "due"),
    [(40, 30, 20, True), (41, 30, 20, True), (50, 41, 20, False), (60, 50, None, False)],
)
def test_an_export_is_due_once_per_multiple(
    step: int, before: int, every: int | None, due: bool
) -> None:
    assert is_due(step, before, every) is due


def test_a_checkpoint_that_was_postponed_stands_for_its_multiple() -> None:
    entries = [entry(s) for s in (10, 21, 30, 43, 50, 60)]
    assert [one.step for one in heads.kept(entries, 1, 20)] == [21, 43, 60]


def test_an_earlier_attempts_same_step_is_replaced() -> None:
    head = Head(attempt=2, checkpoints=[entry(4, 1), entry(8, 1)])
    after, dropped = heads.append(head, entry(8, 2), 2, 2, None)
    assert after.checkpoints == [entry(4, 1), entry(8, 2)]
    assert dropped == [entry(8, 1)]


def test_later_steps_of_an_abandoned_attempt_are_dropped() -> None:
    head = Head(attempt=2, checkpoints=[entry(4, 1), entry(8, 1)])
    after, dropped = heads.append(head, entry(6, 2), 2, 3, None)
    assert [one.step for one in after.checkpoints] == [4, 6]
    assert dropped == [entry(8, 1)]


def test_a_pinned_checkpoint_is_never_dropped() -> None:
    head = heads.pinned(Head(attempt=1, checkpoints=[entry(10), entry(20)]), entry(10), True)
    after, dropped = heads.append(head, entry(30), 1, 1, None)
    assert [one.step for one in after.checkpoints] == [10, 30]
    assert [one.step for one in dropped] == [20]
    assert heads.pinned(after, after.checkpoints[0], False).checkpoints[0] == entry(10)


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_is_the_newest() -> None:
    head = Head(attempt=1, checkpoints=[entry(10), entry(20)])
    after = heads.without_damaged(head, entry(20), 2)
    assert (after.attempt, after.newest, after.damaged) == (2, entry(10), [entry(20)])
    assert heads.without_damaged(after, entry(20), 2) == after, "once"
    committed, _ = heads.append(after, entry(20, 2), 2, 2, None)
    assert committed.damaged == [entry(20)]


def test_going_back_names_nothing_later() -> None:
    head = Head(attempt=1, checkpoints=[entry(10), entry(20), entry(30)])
    after, later = gone_back(head, 10)
    assert (after.checkpoints, later) == ([entry(10)], [entry(20), entry(30)])
    pinned = heads.pinned(head, entry(30), True)
    after, _ = gone_back(pinned, 10)
    assert (after.checkpoints, after.kept) == ([entry(10)], [pinned.checkpoints[2]])
    for change in (gone_back, entry_of):
        with pytest.raises(KeyError):
            change(head, 15)


def left_pinned() -> tuple[Head, Entry]:
    """A run that left step 30 of attempt 1 pinned, went back to 10, and is at step 20 again."""
    first = Head(attempt=1, checkpoints=[entry(10), entry(20), entry(30)])
    back, _ = gone_back(heads.pinned(first, entry(30), True), 10)
    (left,) = back.kept
    for step in (15, 20):
        back, _ = heads.append(back, entry(step, 2), 2, 9, None)
    return back, left


def test_a_run_goes_on_from_a_checkpoint_that_it_has_left() -> None:
    """On the line that led to it: what was trained since then followed another checkpoint."""
    head, left = left_pinned()
    after, later = gone_back(head, 30)
    joined = left.model_copy(update={"parted": 10})
    assert (after.checkpoints, after.kept) == ([entry(10), joined], [])
    assert later == [entry(15, 2), entry(20, 2)]
    # And to the line that is left now, if that is pinned.
    pinned = heads.pinned(head, entry(20, 2), True)
    after, _ = gone_back(pinned, 30)
    (other,) = after.kept
    back, later = gone_back(after, 20)
    assert [one.attempt for one in back.checkpoints] == [1, 2]
    assert back.checkpoints[-1] == other.model_copy(update={"parted": 10})
    assert (later, back.kept) == ([joined], [joined])


def test_of_several_checkpoints_of_a_step_the_runs_own_is_meant_or_the_attempt_says_which() -> None:
    head, left = left_pinned()
    assert entry_of(head, 30) == left
    assert left.attempt == 1
    again, _ = heads.append(head, entry(30, 2), 2, 9, None)
    assert [entry_of(again, 30), entry_of(again, 30, 1)] == [entry(30, 2), left]
    both, _ = gone_back(heads.pinned(again, entry(30, 2), True), 20)
    with pytest.raises(KeyError):
        entry_of(both, 30)
    assert "of the attempts 1, 2" in missing_text(both, "rl", 30)
    assert entry_of(both, 30, 2).attempt == 2
    after, _ = gone_back(both, 30, 2)
    assert [one.attempt for one in after.checkpoints] == [1, 2, 2, 2]
    assert missing_text(head, "rl", 25) == (
        "Stage rl has no checkpoint of step 25. It has steps 10, 15, 20, and has left steps 30"
    )


def test_a_pinned_checkpoint_that_a_commit_leaves_behind_is_kept() -> None:
    head = heads.pinned(Head(attempt=2, checkpoints=[entry(4), entry(8)]), entry(8), True)
    after, dropped = heads.append(head, entry(6, 2), 2, 3, None)
    assert (dropped, [one.step for one in after.kept]) == ([], [8])


@pytest.mark.parametrize("where", ["checkpoints", "kept", "damaged"])
def test_whatever_a_head_lists_is_pinned_and_deleted(where: str) -> None:
    head = Head(attempt=1).model_copy(update={where: [entry(10), entry(20)]})
    pinned = heads.pinned(head, entry(10), True)
    assert [one.pinned for one in getattr(pinned, where)] == [True, False]
    assert getattr(heads.without(head, entry(10)), where) == [entry(20)]
