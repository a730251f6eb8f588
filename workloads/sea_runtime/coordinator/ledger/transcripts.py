"""Dialogues of training episodes that wait to be written into the run's folder (`run_folder`).

Each is kept as a whole line of the file when its episode ends. It goes with a group that no batch
can take, or if the share that the stage saves leaves its group out, or once it is in the object
store: what is in this table is what the folder still lacks. Groups that are dropped, since all
their rewards are equal, are written too, with the step that they were counted in, into a file of
their own. A ledger that goes back to a checkpoint takes it along, so nothing is lost and a step
that is trained again is written again.
"""

import json
import math
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from sea_data.evaluation import records
from sea_data.evaluation.records import EpisodeRecord, description
from sea_runtime.coordinator.errors import RefusedError
from sea_runtime.coordinator.ledger.database import Database
from sea_runtime.wire.rollouts import EpisodeResult

MAX_DROPPED = 64
"""Dropped groups that wait for a batch to be counted in; where nothing can be learned, none comes,
and the oldest would fill the volume."""
ZERO_ADVANTAGE = "All rewards of the group are equal."


class Step(NamedTuple):
    """A step that has dialogues which are not in the store yet."""

    stage: str
    number: int
    dropped: bool = False
    """Those of the groups that were dropped before it, not of its batch."""


def keep(db: Database, row: sqlite3.Row, result: EpisodeResult) -> None:
    """Keeps the dialogue of an episode that ended; `row` is `episodes.WITH_GROUP`."""
    task = json.loads(row["task"] or "{}")
    record = EpisodeRecord(
        domain=row["domain"],
        task=str(task.get("id") or ""),
        row=row["row_key"],
        trial=row["sample"],
        seed=row["seed"],
        reward=result.reward,
        stop=result.stop,
        turns=result.turns,
        generated_tokens=result.generated_tokens,
        weight_version=result.mean_version,
        attempts=row["attempt"],
        seconds=result.seconds,
        details=result.details,
        transcript=tuple(result.transcript),
        database=row["database"] or "",
        **description(task),
    )
    try:
        line = record.to_line()
    except TypeError as error:
        raise RefusedError(f"The result's transcript or details are no JSON: {error}.") from error
    number, sample = row["group_number"], row["sample"]
    db.run("INSERT INTO transcripts VALUES (?, ?, ?)", number, sample, line)


def sampled(count: int, share: float) -> set[int]:
    """Which of `count` groups a share keeps: evenly spread, at least one unless it is 0. Pure."""
    kept = min(count, math.ceil(share * count))
    return {i * count // kept for i in range(kept)}


def thin(db: Database, groups: Sequence[int], share: float) -> None:
    """Drops the dialogues of a batch's groups that the share leaves out."""
    kept = sampled(len(groups), share)
    drop(db, (number for place, number in enumerate(groups) if place not in kept))


def drop(db: Database, groups: Iterable[int]) -> None:
    for number in groups:
        db.run("DELETE FROM transcripts WHERE group_number = ?", number)


def bound_dropped(db: Database, stage: str) -> None:
    """Forgets the dialogues of the oldest dropped groups that no batch has counted yet."""
    numbers = _uncounted(db, stage)
    drop(db, numbers[:-MAX_DROPPED])


def drop_uncounted(db: Database, stage: str) -> None:
    """Forgets dialogues of dropped groups that no batch will count."""
    drop(db, _uncounted(db, stage))


def _uncounted(db: Database, stage: str) -> list[int]:
    rows = db.rows(
        "SELECT DISTINCT g.number FROM transcripts t JOIN groups g ON g.number = t.group_number "
        "WHERE g.stage = ? AND g.state = 'Filtered' AND g.counted_in IS NULL ORDER BY g.number",
        stage,
    )
    return [row["number"] for row in rows]


def thin_dropped(db: Database, stage: str, step: int, share: float) -> None:
    """`thin` for the groups that were dropped before the step."""
    rows = db.rows(
        "SELECT number FROM groups WHERE stage = ? AND counted_in = ? AND state = 'Filtered' "
        "ORDER BY number",
        stage,
        step,
    )
    thin(db, [row["number"] for row in rows], share)


def waiting(db: Database) -> Step | None:
    """The oldest step with dialogues that are not in the store yet."""
    row = db.row(
        "SELECT g.stage, g.step, g.counted_in FROM transcripts t "
        "JOIN groups g ON g.number = t.group_number WHERE g.step IS NOT NULL "
        "OR (g.state = 'Filtered' AND g.counted_in IS NOT NULL) ORDER BY t.group_number LIMIT 1"
    )
    if row is None:
        return None
    if row["step"] is not None:
        return Step(row["stage"], row["step"])
    return Step(row["stage"], row["counted_in"], dropped=True)


def of_step(db: Database, step: Step) -> list[sqlite3.Row]:
    """The dialogues of the step, by group and sample, for `lines`."""
    which = "g.counted_in = ? AND g.state = 'Filtered'" if step.dropped else "g.step = ?"
    return db.rows(
        "SELECT g.number, g.domain, g.row_key, t.sample, t.body FROM groups g "  # noqa: S608
        f"JOIN transcripts t ON t.group_number = g.number WHERE g.stage = ? AND {which} "
        "ORDER BY g.number, t.sample",
        step.stage,
        step.number,
    )


def lines(rows: Sequence[sqlite3.Row], dropped: str = "") -> str:
    """The file of a step: one line per episode, in the layout of an evaluation's.

    `dropped`: why no step trained on them, which each line then says.

    A row of the data may be in a batch twice (a new epoch began): its trials are counted on, since
    domain, row and trial name an episode.
    """
    trials: dict[tuple[str, str], int] = {}
    found = []
    for row in rows:
        key = (row["domain"], row["row_key"])
        trial = trials.get(key, 0)
        trials[key] = trial + 1
        if trial == row["sample"] and not dropped:
            found.append(row["body"])
        else:
            record = records.from_row(json.loads(row["body"]))
            found.append(replace(record, trial=trial, dropped=dropped).to_line())
    return "".join(found)
