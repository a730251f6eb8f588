"""What is asked at every lease or every second costs the same at a run's end as at its beginning.

A run of 3,000 steps leaves 50,000 groups and 400,000 episodes in the ledger: a query that reads
them all takes a tenth of a second and more, on the event loop. Counted in steps of SQLite's virtual
machine, so that no other load of the machine matters.
"""

from collections.abc import Callable
from typing import Any

import pytest

from sea_runtime.coordinator import stage_controller, zero_advantage
from sea_runtime.coordinator.app import Components
from sea_runtime.coordinator.ledger import batches, episodes, groups, progress, stages, transcripts
from sea_runtime.coordinator.ledger.database import Database
from sea_testing.coordinator import inprocess as kit

SAMPLES, STEP_GROUPS, OPEN = 4, 2, 20
BEGINNING, END = 100, 1000
"""Groups that the run has trained on."""

Ask = Callable[[Components], Any]


def leave_groups(db: Database, count: int) -> None:
    """So many groups as batches and checkpoints leave them, a third of them dropped; then some that
    run and some that wait for a batch."""
    with db.transaction():
        for number in range(1, count + OPEN + 1):
            trained = number <= count
            state = "Filtered" if number % 3 == 0 else "Covered"
            if not trained:
                state = "Running" if number % 2 else "Admitted"
            step = (number - 1) // STEP_GROUPS + 1 if trained else None
            db.run(
                "INSERT INTO groups (id, stage, kind, row_key, domain, samples, state, step, "
                "counted_in, mean_reward, started, finished) "
                "VALUES (?, 'rl', 'Train', 'r', 'shop', ?, ?, ?, ?, ?, 1.0, 2.0)",
                f"rl-{number:06d}",
                SAMPLES,
                state,
                step if state == "Covered" else None,
                step,
                None if state == "Running" else 0.5,
            )
            for sample in range(SAMPLES):
                done = "Leased" if state == "Running" and sample else "Done"
                db.run(
                    "INSERT INTO episodes (group_number, sample, seed, state, mean_version, turns, "
                    "stop, pod, incarnation) VALUES (?, ?, 0, ?, 1.0, 3, 'UserStop', 'w', 'a')",
                    number,
                    sample,
                    done,
                )
            if trained and number % STEP_GROUPS == 0:
                db.run("INSERT INTO batches VALUES ('rl', ?, 0, 0.5, 0, 0, 0)", step)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Components]:
    """A young run and an old one."""
    found = []
    for count in (BEGINNING, END):
        folder = tmp_path_factory.mktemp("run")
        core = kit.coordinator(folder, kit.desired(kit.spec()), kit.Clock())
        leave_groups(core.ledger.db, count)
        found.append(core)
    return found


def cost(core: Components, ask: Ask) -> int:
    """Steps of SQLite's virtual machine, in hundreds."""
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    core.ledger.db._connection.set_progress_handler(step, 100)
    ask(core)
    core.ledger.db._connection.set_progress_handler(None, 0)
    return steps


def assign(core: Components) -> None:
    step = batches.newest_step(core.ledger.db, "rl") + 1
    assert batches.assign(core.ledger.db, "rl", step, STEP_GROUPS, step, 0.0)
    batches.fixed(core.ledger.db, "rl", step)
    with core.ledger.db.transaction():
        assert batches.cover(core.ledger.db, "rl", step) == STEP_GROUPS


@pytest.mark.parametrize(
    "ask",
    [
        lambda core: groups.running(core.ledger.db, "rl"),
        lambda core: groups.admitted(core.ledger.db, "rl"),
        lambda core: groups.kept_share(core.ledger.db, "rl"),
        lambda core: episodes.count_pending(core.ledger.db, "rl", 8),
        lambda core: episodes.pending(core.ledger.db, "rl", 8),
        lambda core: episodes.owners(core.ledger.db),
        lambda core: episodes.unjudged_in_a_row(core.ledger.db, "rl"),
        lambda core: stage_controller.without_verdict(core.ledger.db, "rl"),
        lambda core: zero_advantage.look(core.ledger.db, kit.some(core.job.stage)),
        lambda core: stages.judged(core.ledger.db, "evaluation"),
        lambda core: batches.newest(core.ledger.db, "rl"),
        lambda core: batches.expire(core.ledger.db, "rl", 1, 9, 0.0),
        lambda core: transcripts.waiting(core.ledger.db),
        lambda core: progress.newest_checkpoint(core.ledger.db),
        assign,
    ],
)
def test_a_question_costs_the_same_after_a_long_run(ask: Ask, runs: list[Components]) -> None:
    early, late = (cost(core, ask) for core in runs)
    assert late <= early + early // 4 + 5
