"""A coordinator without HTTP and without an object store: ledger, clock and members are real."""

import resource
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sea_api.v1alpha1.job import Spec
from sea_api.wire.coordinator_spec import CoordinatorSpec, RollbackOrder
from sea_runtime.coordinator import app, snapshot
from sea_runtime.coordinator.app import Components, Settings
from sea_runtime.coordinator.data_check import CheckedData
from sea_runtime.coordinator.ledger import stages
from sea_runtime.coordinator.ledger.database import Database
from sea_runtime.coordinator.ledger.fixed_batch import FixedBatch
from sea_runtime.coordinator.task_rows import TaskRow
from sea_runtime.wire.checkpoints import Entry
from sea_runtime.wire.membership import Heartbeat, PodState
from sea_runtime.wire.rollouts import EpisodeResult, Lease, Trajectory
from sea_runtime.wire.weights import Shard, WeightVersion

T = TypeVar("T")

FILE = "s3://bucket/rl.jsonl"
UID = "0123456789abcdef"


def spec(stages_: list[dict[str, Any]] | None = None, **rl: Any) -> Spec:
    block = {
        "steps": 3,
        "promptsPerStep": 2,
        "trajectoriesPerPrompt": 2,
        "maxConcurrentGroups": 4,
        "maxStaleness": 1,
        **rl,
    }
    return Spec.model_validate(
        {
            "model": {"name": "m", "source": "builtin:tiny"},
            "storage": {"url": "s3://bucket/x"},
            "data": {"rl": [FILE], "sft": ["s3://bucket/sft.jsonl"]},
            "domains": ["shop"],
            "trainer": {"replicas": 2, "gpusPerPod": 0},
            "rollout": {"gpusPerPod": 0},
            "stages": stages_ or [{"name": "rl", "type": "RL", "rl": block}],
        }
    )


def desired(
    spec: Spec,
    *,
    stage: int = 0,
    attempt: int = 1,
    drain: bool = False,
    generation: int = 1,
    trainer_size: int | None = None,
    rollback: RollbackOrder | None = None,
    run_url: str = "s3://bucket/x/job",
) -> CoordinatorSpec:
    return CoordinatorSpec(
        digest=f"{stage}-{attempt}-{drain}-{generation}-{trainer_size}-{rollback}",
        trainer_size=trainer_size,
        rollback=rollback,
        job="job",
        uid=UID,
        spec_generation=generation,
        spec=spec,
        stage_index=stage,
        attempt=attempt,
        drain=drain,
        run_url=run_url,
    )


def some(value: T | None) -> T:
    """The value, which must be there."""
    assert value is not None
    return value


@contextmanager
def no_room(file: Path) -> Iterator[None]:
    """No file of this process may become larger than this one is: SQLite's COMMIT fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def task_rows(count: int = 5) -> list[TaskRow]:
    return [TaskRow(FILE, i + 1, "shop", {"id": f"shop_{i}"}, None) for i in range(count)]


def coordinator(
    folder: Path, wanted: CoordinatorSpec, clock: Clock, store: Any = None
) -> Components:
    """Opens the folder's ledger as a coordinator that has just started would."""
    settings = Settings("job", "ns", UID, "token", "127.0.0.1", folder)
    core = app.Components(settings, store, store, wall=clock, clock=clock)
    db = Database(folder / "ledger.sqlite")
    if not snapshot.is_initialised(db):
        snapshot.begin(db)
    core.ledger.install(db)
    core.job.load()
    core.job.adopt(wanted)
    core.preconditions._data = CheckedData({FILE: task_rows()})
    # There is no store whose conditional writes could be tried.
    core.preconditions._probed = wanted.run_url
    stages.start(db, wanted.spec.stages[wanted.stage_index].name, clock())
    return core


def batch(core: Components, step: int, attempt: int = 1) -> bytes | None:
    """A batch of stage `rl` as rank 0 gets it; None if it isn't ready, empty if there is none."""
    found = core.training.batch("rl", step, attempt)
    return whole(found) if isinstance(found, FixedBatch) else found


def whole(found: FixedBatch) -> bytes:
    """All bytes of a batch, as rank 0 gets them."""
    stream = found.open()
    body = b"".join(stream.pieces())
    assert len(body) == stream.nbytes
    return body


def fix_batches(core: Components, steps: int) -> None:
    """Lets the ledger know batches up to a step, without groups."""
    db = core.ledger.db
    with db.transaction():
        for step in range(1, steps + 1):
            db.run("INSERT INTO batches VALUES ('rl', ?, 0, 0.5, 0, 0, 0)", step)


def beat(pod: str, role: str, incarnation: str, **more: Any) -> Heartbeat:
    return Heartbeat(
        pod=pod,
        role=role,
        address=more.pop("address", "10.0.0.1"),
        incarnation=incarnation,
        state=more.pop("state", PodState.READY),
        **more,
    )


def entry(step: int, manifest_key: str = "k") -> Entry:
    """Of a checkpoint in a stage's head."""
    return Entry(step=step, version=step, manifest_key=manifest_key, bytes=1, time=1.0)


def version(number: int, attempt: int = 1, *, anchor: bool = False) -> WeightVersion:
    url = f"s3://bucket/x/job/weights/policy/v{number:06d}/shard-0.bin" if anchor else None
    return WeightVersion(
        stream="policy",
        version=number,
        attempt=attempt,
        stage="rl",
        step=number,
        shards=[Shard(rank=0, nbytes=1, blocks=[], object_url=url)],
    )


def result(
    lease: Lease, pod: str, incarnation: str, reward: float | None, version: float = 0.0
) -> EpisodeResult:
    unique = uuid.uuid5(uuid.NAMESPACE_OID, f"{lease.lease_id}{reward}").int % 1000
    return EpisodeResult(
        lease_id=lease.lease_id,
        pod=pod,
        incarnation=incarnation,
        reward=reward,
        error="" if reward is not None else "The engine died.",
        trajectory=Trajectory.pack([unique, 5], [0, 1], [0.0, -0.5], [-1, 0]).encode(),
        mean_version=version,
        generated_tokens=1,
        turns=1,
        stop="UserStop",
        transcript=[],
        seconds=0.1,
        details={},
    )
