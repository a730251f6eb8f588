"""Evaluation stages: tasks x trials as groups, then pass^k, then the report in the object store."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from sea_api import lenient
from sea_api.v1alpha1.stages import EvaluationStage, Stage, StageType
from sea_api.v1alpha1.status import EvaluationResult
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_data import urls
from sea_data.evaluation import scores
from sea_data.evaluation.records import EpisodeRecord, description
from sea_data.object_store import ObjectNotFoundError
from sea_env.tasks import order
from sea_runtime.coordinator.ledger import groups, stages
from sea_runtime.coordinator.ledger.database import Database
from sea_runtime.coordinator.task_rows import TaskRow
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.wire.rollouts import EpisodeKind


def block(stage: Stage) -> EvaluationStage:
    return stage.evaluation or EvaluationStage()


def issue(db: Database, stage: Stage, rows: Sequence[TaskRow]) -> int:
    """Writes all episodes of the stage with their seeds; returns how many tasks there are."""
    settings = block(stage)
    chosen = [rows[i] for i in order.choose(len(rows), settings.max_tasks, settings.seed)]
    # Episodes and their planned number together: progress is measured against it.
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
        stages.plan(db, stage.name, len(chosen) * settings.trials)
    return len(chosen)


def progress(db: Database, stage: str) -> tuple[int, int]:
    """Episodes judged or given up on, and episodes planned."""
    return stages.judged(db, stage), stages.planned(db, stage)


def results(stage: str, rows: Iterable[sqlite3.Row]) -> list[EvaluationResult]:
    """pass^k by domain and on average; trials without a verdict are left out."""
    return scores.results(stage, scores.trials_by_domain(map(record, rows)))


def keep(db: Database, stage: str, found: Sequence[EvaluationResult]) -> None:
    """Writes results into the ledger, for the operator's status."""
    for item in found:
        stages.keep_result(db, stage, item.domain, item.model_dump_json(by_alias=True))


def earlier(db: Database, before: Sequence[Stage], stage: Stage) -> list[dict[str, Any]]:
    """Results of the run's evaluation stages before this one, oldest first."""
    names = [item.name for item in before[: before.index(stage)]]
    return [json.loads(body) for name in names for body in stages.results(db, name)]


def episode_lines(records: Iterable[EpisodeRecord]) -> str:
    """`evaluation/<stage>.episodes.jsonl`: one line per episode, with the transcript."""
    return "".join(record.to_line() for record in records)


def report(stage: Stage, records: Sequence[EpisodeRecord], version: int) -> dict[str, Any]:
    """`evaluation/<stage>.json`."""
    settings = block(stage).model_dump(by_alias=True)
    return scores.report(stage.name, records, settings=settings, policyVersion=version)


def record(row: sqlite3.Row) -> EpisodeRecord:
    """An episode of the ledger as a line of `evaluation/<stage>.episodes.jsonl`."""
    kept = json.loads(row["report"] or "{}")
    task = json.loads(row["task"] or "{}")
    return EpisodeRecord(
        domain=row["domain"],
        task=str(task.get("id") or ""),
        row=row["row_key"],
        trial=row["sample"],
        seed=row["seed"],
        # An episode that was given up on has no verdict, which is not a zero.
        reward=row["reward"] if row["state"] == "Done" else None,
        error=row["error"] or "",
        stop=row["stop"] or "",
        turns=row["turns"] or 0,
        generated_tokens=row["generated_tokens"] or 0,
        weight_version=row["mean_version"],
        attempts=row["attempt"],
        seconds=kept.get("seconds") or 0.0,
        details=kept.get("details") or {},
        transcript=tuple(kept.get("transcript") or ()),
        database=row["database"] or "",
        **description(task),
    )


def read_results(store: ObjectStore, desired: CoordinatorSpec) -> dict[str, list[EvaluationResult]]:
    """Reports of evaluation stages that have ended, by stage. Blocking."""
    found = {}
    for stage in desired.spec.stages[: desired.stage_index]:
        if stage.type == StageType.EVALUATION:
            try:
                body = json.loads(store.get(report_url(desired.run_url, stage.name)))
            except ObjectNotFoundError:
                continue
            results = [lenient.read(EvaluationResult, item) for item in body["results"]]
            found[stage.name] = [result.value for result in results]
    return found


def episodes_url(run_url: str, stage: str) -> str:
    return urls.join(run_url, "evaluation", f"{stage}.episodes.jsonl")


def report_url(run_url: str, stage: str) -> str:
    return urls.join(run_url, "evaluation", f"{stage}.json")
