"""Evaluation stages: tasks x trials as groups, then pass^k, then the report in the object store."""

import json
import logging
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sea_api.v1alpha1.stages import EvaluationStage, Stage
from sea_api.v1alpha1.status import EvaluationResult
from sea_workloads.coordinator import passk
from sea_workloads.coordinator.data import order
from sea_workloads.coordinator.data.rows import TaskRow
from sea_workloads.coordinator.ledger import groups
from sea_workloads.coordinator.ledger.database import Database
from sea_workloads.wire.rollouts import EpisodeKind

log = logging.getLogger(__name__)

AVERAGE = "average"
Trials = Sequence[bool]


def block(stage: Stage) -> EvaluationStage:
    return stage.evaluation or EvaluationStage()


def issue(db: Database, stage: Stage, rows: Sequence[TaskRow]) -> int:
    """Writes all episodes of the stage with their seeds; returns how many tasks there are."""
    settings = block(stage)
    chosen = [rows[i] for i in order.choose(len(rows), settings.max_tasks, settings.seed)]
    with db.transaction(durable=True):
        for index, row in enumerate(chosen):
            groups.issue(
                db,
                groups.NewGroup(
                    id=f"{stage.name}-{index:06d}",
                    stage=stage.name,
                    kind=EpisodeKind.EVAL,
                    row_key=row.key,
                    domain=row.domain,
                    database=row.database,
                    task=row.task,
                    seeds=[
                        order.sampling_seed(settings.seed, row.key, trial)
                        for trial in range(settings.trials)
                    ],
                ),
            )
        db.run(
            "UPDATE stages SET planned = ? WHERE name = ?",
            len(chosen) * settings.trials,
            stage.name,
        )
    return len(chosen)


def progress(db: Database, stage: str) -> tuple[int, int]:
    """Episodes judged or given up on, and episodes planned."""
    ended = db.value(
        "SELECT COUNT(*) FROM episodes e JOIN groups g ON g.number = e.group_number "
        "WHERE g.stage = ? AND e.state IN ('Done', 'Failed')",
        stage,
    )
    return ended, db.value("SELECT planned FROM stages WHERE name = ?", stage) or 0


def episodes(db: Database, stage: str) -> list[sqlite3.Row]:
    """All episodes of the stage with task and verdict, in the order of tasks and trials."""
    return db.rows(
        "SELECT e.*, g.id AS group_id, g.row_key, g.domain, g.task FROM episodes e "
        "JOIN groups g ON g.number = e.group_number WHERE g.stage = ? "
        "ORDER BY g.number, e.sample",
        stage,
    )


def trials_by_domain(rows: Iterable[sqlite3.Row]) -> dict[str, dict[str, list[bool]]]:
    """Verdicts by domain and task; trials without a verdict are left out, not counted as failed."""
    found: dict[str, dict[str, list[bool]]] = {}
    for row in rows:
        task = found.setdefault(row["domain"], {}).setdefault(row["group_id"], [])
        if row["state"] == "Done":
            task.append(passk.succeeded(row["reward"]))
    return found


def results(stage: str, domains: Mapping[str, Mapping[str, Trials]]) -> list[EvaluationResult]:
    """One result a domain and, in the end, `average`: the mean of the domains' numbers."""
    by_domain = [
        result(stage, domain, list(tasks.values()))
        for domain, tasks in sorted(domains.items())
        if any(tasks.values())
    ]
    return [*by_domain, average(stage, by_domain)] if by_domain else []


def result(stage: str, domain: str, tasks: Sequence[Trials]) -> EvaluationResult:
    judged = [task for task in tasks if task]
    return EvaluationResult(
        stage=stage,
        domain=domain,
        tasks=len(judged),
        episodes=sum(map(len, judged)),
        pass_hat1=passk.mean_pass_hat(judged, 1) or 0.0,
        pass_hat2=passk.mean_pass_hat(judged, 2),
        pass_hat3=passk.mean_pass_hat(judged, 3),
        pass_hat4=passk.mean_pass_hat(judged, 4),
        pass_at4=passk.mean_pass_at(judged, 4),
    )


def average(stage: str, domains: Sequence[EvaluationResult]) -> EvaluationResult:
    """Unweighted mean over domains, as the published tables have it."""
    fields = ("pass_hat1", "pass_hat2", "pass_hat3", "pass_hat4", "pass_at4")
    values: dict[str, Any] = {name: _mean([getattr(d, name) for d in domains]) for name in fields}
    return EvaluationResult(
        stage=stage,
        domain=AVERAGE,
        tasks=sum(domain.tasks for domain in domains),
        episodes=sum(domain.episodes for domain in domains),
        **values,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def keep(db: Database, stage: str, found: Sequence[EvaluationResult]) -> None:
    """Writes results into the ledger, for the operator's status."""
    for item in found:
        db.run(
            "INSERT OR REPLACE INTO evaluations (stage, domain, body) VALUES (?, ?, ?)",
            stage,
            item.domain,
            item.model_dump_json(by_alias=True),
        )


def report(stage: Stage, rows: Sequence[sqlite3.Row], version: int) -> dict[str, Any]:
    """`evaluation/<stage>.json`."""
    found = results(stage.name, trials_by_domain(rows))
    return {
        "stage": stage.name,
        "policyVersion": version,
        "settings": block(stage).model_dump(by_alias=True),
        "results": [item.model_dump(by_alias=True) for item in found],
        "withoutVerdict": sum(row["state"] == "Failed" for row in rows),
    }


def episode_lines(rows: Iterable[sqlite3.Row]) -> str:
    """`evaluation/<stage>.episodes.jsonl`: one line an episode, with the transcript."""
    return "".join(json.dumps(_line(row)) + "\n" for row in rows)


def _line(row: sqlite3.Row) -> dict[str, Any]:
    kept = json.loads(row["report"] or "{}")
    return {
        "task": json.loads(row["task"] or "{}").get("id"),
        "row": row["row_key"],
        "domain": row["domain"],
        "trial": row["sample"],
        "seed": row["seed"],
        "attempts": row["attempt"],
        "reward": row["reward"],
        "error": row["error"],
        "stop": row["stop"],
        "turns": row["turns"],
        "generatedTokens": row["generated_tokens"],
        "weightVersion": row["mean_version"],
        **kept,
    }
