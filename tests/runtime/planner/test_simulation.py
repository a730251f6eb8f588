"""The simulated pipeline against what can be computed by hand, and its invariants."""

import dataclasses
from random import Random

import pytest

from sea_runtime.planner import simulation
from sea_runtime.planner.simulated_pipeline import Failures, Pipeline, Turn
from sea_runtime.planner.simulation import simulate


def pipeline(**changes: object) -> Pipeline:
    """Two engines; every trajectory takes 100 tokens of 0.1 s, every batch 5 s."""
    usual = Pipeline(
        engines=2,
        slots=8,
        token_seconds=lambda _: 0.1,
        draw=lambda _: (Turn(100, 0.0),),
        group_size=4,
        batch_groups=4,
        max_staleness=2,
        max_groups=100,
        train_s=lambda _: 5.0,
    )
    return dataclasses.replace(usual, **changes)  # type: ignore[arg-type]


def test_engines_that_are_slower_than_the_trainer_set_the_pace() -> None:
    """16 trajectories on 16 slots of 10 s each, while training takes 5 s."""
    found = simulate(pipeline(), 20)
    assert found.step_seconds == pytest.approx(10.0, rel=0.02)
    assert found.trainer_busy == pytest.approx(0.5, abs=0.05)
    assert found.engine_busy > 0.95


def test_a_trainer_that_is_slower_sets_the_pace() -> None:
    found = simulate(pipeline(train_s=lambda _: 30.0), 20)
    assert found.step_seconds == pytest.approx(30.0, rel=0.01)
    assert found.trainer_busy > 0.9


def test_without_staleness_both_take_turns() -> None:
    found = simulate(pipeline(max_staleness=0), 20)
    assert found.step_seconds == pytest.approx(15.0, rel=0.01)
    assert found.staleness == 0


@pytest.mark.parametrize("staleness", [0, 1, 2, 4])
def test_no_token_is_older_than_the_gate_allows(staleness: int) -> None:
    """A slow trainer fills the pipeline up to the gate."""
    found = simulate(pipeline(max_staleness=staleness, train_s=lambda _: 60.0), 20)
    assert max(step.staleness for step in found.steps) <= staleness
    assert found.staleness == pytest.approx(staleness, abs=0.5)


def test_the_batch_waits_for_its_longest_trajectory() -> None:
    """Synchronous, with one slot per trajectory: the longest of 16 decides."""

    def draw(random: Random) -> tuple[Turn, ...]:
        return (Turn(random.choice([10, 200]), 0.0),)

    found = simulate(pipeline(max_staleness=0, draw=draw), 20)
    assert found.step_seconds == pytest.approx(25.0, rel=0.05)


def test_an_engine_gets_slower_with_more_sequences() -> None:
    """The same tokens on half the engines: twice the sequences, each half as fast."""
    shared = simulate(pipeline(engines=1, slots=16, token_seconds=lambda n: 0.0125 * n), 20)
    assert shared.step_seconds == pytest.approx(20.0, rel=0.03)


def test_turns_wait_outside_and_hold_their_slot() -> None:
    found = simulate(pipeline(draw=lambda _: (Turn(50, 0.0), Turn(50, 10.0))), 20)
    assert found.step_seconds == pytest.approx(20.0, rel=0.05)


def test_an_update_pauses_every_engine_once_per_version() -> None:
    found = simulate(pipeline(pause_s=2.0), 20)
    assert found.step_seconds == pytest.approx(12.0, rel=0.05)


def test_a_token_belongs_to_the_version_that_made_it() -> None:
    """A turn that goes on through an update is of two versions."""
    through = simulate(pipeline(draw=lambda _: (Turn(1000, 0.0),), max_staleness=4), 10)
    assert any(0 < step.staleness % 1 < 1 for step in through.steps)


def test_dropped_groups_are_replaced() -> None:
    kept = simulate(pipeline(kept_share=0.5), 30)
    assert kept.step_seconds == pytest.approx(20.0, rel=0.15)


def test_dropped_groups_cost_less_where_running_ones_count_by_what_is_kept() -> None:
    """At the end of a batch nobody waits for the replacement of one that was dropped."""

    def draw(random: Random) -> tuple[Turn, ...]:
        return (Turn(random.choice((20, 40, 300)), 0.0),)

    def seconds(share: float) -> float:
        one = simulation.Simulation(pipeline(draw=draw, kept_share=0.5, max_groups=64), seed=1)
        one._kept_share = lambda: share  # type: ignore[method-assign]
        return one.run(40).step_seconds

    assert seconds(0.5) < 0.9 * seconds(1.0)


def test_engines_that_share_their_gpus_stand_still_while_they_train() -> None:
    found = simulate(pipeline(max_staleness=0, shared=True), 20)
    assert found.step_seconds == pytest.approx(15.0, rel=0.01)
    assert found.engine_busy == pytest.approx(2 / 3, abs=0.05)


def test_a_failed_engine_loses_its_episodes_and_nothing_else() -> None:
    often = Failures(engine_every_s=60.0, engine_restart_s=20.0)
    found = simulate(pipeline(failures=often), 30, seed=3)
    assert len(found.steps) == 30
    assert found.step_seconds > 12
    assert {step.tokens for step in found.steps} == {1600}


def test_a_failed_trainer_does_steps_again() -> None:
    never = simulate(pipeline(train_s=lambda _: 30.0), 40)
    often = Failures(trainer_every_s=300.0, trainer_restart_s=60.0)
    found = simulate(pipeline(train_s=lambda _: 30.0, failures=often), 40, seed=1)
    assert found.step_seconds > 1.1 * never.step_seconds


def test_a_seed_gives_the_same_run() -> None:
    def draw(random: Random) -> tuple[Turn, ...]:
        return tuple(Turn(random.randint(1, 50), random.random()) for _ in range(3))

    one, two = (simulate(pipeline(draw=draw), 10, seed=7) for _ in range(2))
    assert one == two
    assert one != simulate(pipeline(draw=draw), 10, seed=8)


def test_the_gate_is_the_coordinators() -> None:
    """The same function of the same numbers."""
    from sea_runtime.coordinator import staleness_gate

    one = simulation.Simulation(pipeline(max_staleness=1, max_groups=9))
    one._all = 5
    one._outcomes.extend([True, False] * 16)
    for running in range(0, 12, 3):
        for accepted in range(0, 24, 4):
            for version in range(3):
                one._running, one._accepted, one._version = running, accepted, version
                expected = staleness_gate.capacity(
                    max_concurrent=9,
                    running=running,
                    accepted=accepted,
                    version=version,
                    staleness=1,
                    batch=4,
                    steps=5,
                    kept_share=0.5,
                )
                assert one._capacity(version) == expected
