"""A coordinator without HTTP and without an object store: ledger, clock and members are real."""

import uuid
from pathlib import Path
from typing import Any

from sea_api.v1alpha1.job import Spec
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_runtime.coordinator import adopt, restore
from sea_runtime.coordinator.core import Coordinator
from sea_runtime.coordinator.data.check import CheckedData
from sea_runtime.coordinator.data.rows import TaskRow
from sea_runtime.coordinator.ledger import documents, stages
from sea_runtime.coordinator.ledger.database import Database
from sea_runtime.coordinator.settings import Settings
from sea_runtime.wire.membership import Heartbeat, PodState
from sea_runtime.wire.rollouts import EpisodeResult, Lease, Trajectory
from sea_runtime.wire.weights import Shard, WeightVersion

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
            "stages": stages_ or [{"name": "rl", "type": "RL", "rl": block}],
        }
    )


def desired(
    spec: Spec, *, stage: int = 0, attempt: int = 1, drain: bool = False
) -> CoordinatorSpec:
    return CoordinatorSpec(
        digest=f"{stage}-{attempt}-{drain}",
        job="job",
        uid=UID,
        spec_generation=1,
        spec=spec,
        stage_index=stage,
        attempt=attempt,
        drain=drain,
        run_url="s3://bucket/x/job",
    )


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def task_rows(count: int = 5) -> list[TaskRow]:
    return [TaskRow(FILE, i + 1, "shop", {"id": f"shop_{i}"}, None) for i in range(count)]


def coordinator(folder: Path, wanted: CoordinatorSpec, clock: Clock) -> Coordinator:
    """Opens the folder's ledger as a coordinator that was started anew would."""
    settings = Settings("job", "ns", UID, "token", "127.0.0.1", folder)
    core = Coordinator(settings, None, wall=clock, clock=clock)  # type: ignore[arg-type]
    core.db = Database(folder / "ledger.sqlite")
    if not restore.is_initialised(core.db):
        restore.begin(core.db)
    core.adopted = documents.get(core.db, "desired", CoordinatorSpec)
    adopt.adopt(core, core.db, wanted)
    core.data = CheckedData({FILE: task_rows()})
    stages.start(core.db, wanted.spec.stages[wanted.stage_index].name, clock())
    return core


def beat(pod: str, role: str, incarnation: str, **more: Any) -> Heartbeat:
    return Heartbeat(
        pod=pod,
        role=role,
        address=more.pop("address", "10.0.0.1"),
        incarnation=incarnation,
        state=more.pop("state", PodState.READY),
        **more,
    )


def version(number: int, attempt: int = 1, *, anchor: bool = False) -> WeightVersion:
    url = f"s3://bucket/x/job/weights/policy/v{number:06d}/shard-0.bin" if anchor else None
    return WeightVersion(
        stream="policy",
        version=number,
        attempt=attempt,
        stage="rl",
        step=number,
        shards=[Shard(rank=0, nbytes=1, tensors=[], object_url=url)],
    )


def result(lease: Lease, pod: str, incarnation: str, reward: float | None) -> EpisodeResult:
    unique = uuid.uuid5(uuid.NAMESPACE_OID, f"{lease.lease_id}{reward}").int % 1000
    return EpisodeResult(
        lease_id=lease.lease_id,
        pod=pod,
        incarnation=incarnation,
        reward=reward,
        error="" if reward is not None else "The engine died.",
        trajectory=Trajectory.pack([unique, 5], [0, 1], [0.0, -0.5], [-1, 0]),
        generated_tokens=1,
        turns=1,
        stop="UserStop",
        transcript=[],
        seconds=0.1,
        details={},
    )
