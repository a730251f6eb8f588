"""The data check: every file of every stage is read before training starts.

Runs when `CoordinatorSpec` arrives and again while there is a problem, so that a mistake is
reported within seconds of `kubectl apply`, not after hours of SFT. What it read is kept: rollouts
draw from it.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sea_api.v1alpha1.data import OnBadRow
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.stages import StageType
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_data.errors import DataFileError, NoSuchFileError, RowError
from sea_data.formats import data_files
from sea_data.formats.dialogue import dialogue, succeeded
from sea_data.formats.jsonl import objects
from sea_data.formats.model_demands import Demand, demands
from sea_data.formats.perspective import agent_side, exchange
from sea_data.object_store import AccessDeniedError
from sea_data.synthesis.procedural import task_generators
from sea_env.domains import registry
from sea_runtime.coordinator import stage_plan
from sea_runtime.coordinator.errors import BadRowError, PreconditionError
from sea_runtime.coordinator.task_rows import (
    TaskRow,
    require_verifiable,
    row_problem,
    task_row,
    unusable_rows,
)
from sea_runtime.store.s3 import ObjectStore

log = logging.getLogger(__name__)

_WHERE_DOMAINS_ARE = (
    "What counts is what the images of the coordinator and of the rollout pods hold "
    "(spec.coordinator.template.image, spec.rollout.template.image); docs/adding-a-domain.md "
    "says how a package gets there."
)

SkipRow = Callable[[BadRowError], None]
_SIDES = {stage_plan.POLICY: agent_side, stage_plan.USER: exchange}
"""The dialogue as its stream is trained on it."""


@dataclass(frozen=True)
class CheckedData:
    """Rows of all task files by address, and how many rows were skipped, by reason."""

    tasks: dict[str, list[TaskRow]]
    skipped: dict[str, int] = field(default_factory=dict)
    demands: dict[str, dict[Demand, BadRowError]] = field(default_factory=dict)
    """By weight stream: what the dialogues ask of its model, and the problem if it lacks that."""

    def rows(self, files: list[str]) -> list[TaskRow] | None:
        """Rows of these files in order; None if one of them is not checked yet."""
        if not self.tasks.keys() >= set(files):
            return None
        return [row for file in files for row in self.tasks[file]]


def digest(desired: CoordinatorSpec, made: Collection[str]) -> str:
    """Changes when the data must be checked again. `made`: Synthesis stages that are complete."""
    spec = desired.spec
    parts = [
        spec.data.model_dump_json(),
        spec.storage.model_dump_json(),
        str(spec.domains),
        str(spec.verifier.judge is None),
    ]
    for stage in spec.stages:
        task_files = stage_plan.task_files(desired, stage)
        parts.append(f"{task_files}{stage_plan.dialogue_files(desired, stage)}")
    # Sorted: a set has no order, and another digest would read all files again.
    parts += sorted(made)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def check(store: ObjectStore, desired: CoordinatorSpec, made: Collection[str] = ()) -> CheckedData:
    """Reads everything the stages will read, but for what is still to be synthesized.

    Raises:
        PreconditionError: the first mistake, with file and line if there is one.
        StoreError: the store could not be asked.
    """
    spec, missing = desired.spec, stage_plan.still_to_make(desired, made)
    require_domains(spec, made)
    skipped: Counter[str] = Counter()
    skip = _skip(spec, skipped)
    tasks = {
        file: _tasks(store, desired, file, skip)
        for file in _distinct(f for s in spec.stages for f in stage_plan.task_files(desired, s))
        # A Synthesis stage writes it later; `made` is part of the digest, so
        # the check runs again then.
        if file not in missing
    }
    demanded: dict[str, dict[Demand, BadRowError]] = {}
    for file, streams in _dialogue_files(desired).items():
        if file not in missing:
            of_file = {stream: demanded.setdefault(stream, {}) for stream in sorted(streams)}
            _check_dialogues(store, file, skip, of_file)
    if spec.data.on_bad_row is OnBadRow.SKIP:
        demanded = {}  # the trainer leaves out and counts what its model's format can't hold
    return CheckedData(_with_databases(store, tasks, skip), dict(skipped), demanded)


def _dialogue_files(desired: CoordinatorSpec) -> dict[str, set[str]]:
    """Each file with the weight streams that are trained on it."""
    found: dict[str, set[str]] = {}
    for stage in desired.spec.stages:
        for file in stage_plan.dialogue_files(desired, stage):
            found.setdefault(file, set()).add(stage_plan.stream_of(stage))
    return found


def _distinct(files: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(files))


def _skip(spec: Spec, skipped: Counter[str]) -> SkipRow:
    def skip(problem: BadRowError) -> None:
        if spec.data.on_bad_row != OnBadRow.SKIP:
            raise problem
        log.warning("row skipped: %s", problem)
        skipped[problem.problem.reason] += 1

    return skip


def _objects(store: ObjectStore, file: str, skip: SkipRow) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, row in objects(lines(store, file), file):
        if isinstance(row, RowError):
            skip(row_problem(row))
        else:
            yield line, row


def _tasks(store: ObjectStore, desired: CoordinatorSpec, file: str, skip: SkipRow) -> list[TaskRow]:
    spec, rows = desired.spec, []
    folder = stage_plan.databases(desired, file)
    for line, row in _objects(store, file, skip):
        try:
            found = task_row(file, line, row, spec.domains, folder)
            require_verifiable(found, judged=spec.verifier.judge is not None)
            rows.append(found)
        except BadRowError as problem:
            skip(problem)
    return _require_some(file, rows)


def _require_some(file: str, rows: list[TaskRow]) -> list[TaskRow]:
    """A stage without a single prompt would wait forever."""
    if not rows:
        raise PreconditionError(
            "NoUsableRows", f"{file} has no usable task row. Upload a file with rows."
        )
    return rows


def _check_dialogues(
    store: ObjectStore,
    file: str,
    skip: SkipRow,
    demanded: Mapping[str, dict[Demand, BadRowError]],
) -> None:
    """Adds the first row of each demand to `demanded`, by each stream that trains on the file."""
    usable: set[str] = set()
    for line, row in _objects(store, file, skip):
        wrong: RowError | None = None
        for stream, known in demanded.items():
            try:
                asked = _demands(row, stream)
            except RowError as error:
                wrong = error
                continue
            usable.add(stream)
            for demand, lacking in asked.items():
                known.setdefault(demand, row_problem(lacking.at(file, line)))
        # Once per row, whatever number of streams can't use it.
        if wrong is not None:
            skip(row_problem(wrong.at(file, line)))
    if usable != demanded.keys():
        raise PreconditionError(
            "NoUsableRows", f"{file} has no usable dialogue. Upload one with rows."
        )


def _demands(row: dict[str, Any], stream: str) -> Mapping[Demand, RowError]:
    """As the trainer reads the row, which leaves failed dialogues out."""
    found = dialogue(row)
    return demands(_SIDES[stream](found)) if succeeded(row) else {}


def _with_databases(
    store: ObjectStore, tasks: dict[str, list[TaskRow]], skip: SkipRow
) -> dict[str, list[TaskRow]]:
    """Leaves out rows whose database or initial state is unusable, or raises (see `skip`)."""
    every = [row for rows in tasks.values() for row in rows]
    wrong = {row.key: problem for row, problem in unusable_rows(store, every)}
    kept: dict[str, list[TaskRow]] = {}
    for file, rows in tasks.items():
        for problem in (wrong[row.key] for row in rows if row.key in wrong):
            skip(problem)
        kept[file] = _require_some(file, [row for row in rows if row.key not in wrong])
    return kept


def require_domains(spec: Spec, made: Collection[str]) -> None:
    """Loads every domain: names that CEL admits may be missing from the image.

    Args:
        made: Synthesis stages that are complete.

    Raises:
        PreconditionError: a domain is missing or broken, or a stage has no worker for its tasks.
    """
    without_model = _procedural(spec, made)
    for name in spec.domains:
        try:
            domain = registry.get(name)
            has_worker = not without_model or task_generators.find(domain) is not None
        except registry.UnknownDomainError as error:
            raise PreconditionError(
                "UnknownDomain", f"spec.domains: {error} {_WHERE_DOMAINS_ARE}"
            ) from error
        if not has_worker:
            raise _no_worker(without_model[0], name)


def _procedural(spec: Spec, made: Collection[str]) -> list[str]:
    """Synthesis stages to come whose tasks no model makes."""
    return [
        stage.name
        for stage in spec.stages
        if stage.type == StageType.SYNTHESIS
        and stage.name not in made
        and (stage.synthesis is None or stage.synthesis.endpoint is None)
    ]


def _no_worker(stage: str, domain: str) -> PreconditionError:
    return PreconditionError(
        "NoWorker",
        f"spec.stages: stage '{stage}' has no synthesis.endpoint, and without a model nobody makes "
        f"tasks of the domain {domain} (built in: {', '.join(task_generators.names())}). Set "
        "synthesis.endpoint, or bring a task generator with the domain's package "
        "(docs/adding-a-domain.md).",
    )


def lines(store: ObjectStore, url: str) -> Iterator[bytes]:
    """All lines of an object, blank ones too, so that counting them gives line numbers.

    Raises:
        PreconditionError: there is no such object, it may not be read, or it is damaged.
    """
    try:
        yield from data_files.lines(url, store)
    except NoSuchFileError as error:
        raise PreconditionError(
            "DataNotFound",
            f"{url} does not exist. Upload the file or correct the address in the job's spec.",
        ) from error
    except DataFileError as error:
        raise PreconditionError("BadFile", str(error)) from error
    except AccessDeniedError as error:
        raise PreconditionError("AccessDenied", str(error)) from error
