"""`run.json` in the run's folder: what made the run. Pure.

Every spec that was in force, every attempt of the trainer, and the software of every role, each
with the time at which the coordinator first saw it.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ValidationError

from sea_api.redaction import without_secret_values
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_runtime.wire.membership import Heartbeat, Software

FILE = "run.json"


class SpecEntry(BaseModel):
    """A spec from the moment at which it took effect."""

    time: str
    generation: int
    """`metadata.generation` of the resource."""
    spec: dict[str, Any]
    """With all defaults, as YAML names them; values of variables that may be secrets are hidden."""


class AttemptEntry(BaseModel):
    """An attempt of the trainer."""

    attempt: int
    time: str
    trainer_pods: int
    stage: str


class SoftwareEntry(BaseModel):
    """What pods of a role run; a role that was replaced by another image has several."""

    role: str
    time: str
    image: str
    packages: dict[str, str]


class ImageEntry(BaseModel):
    """An image that pods of a role ran, as their node resolved it."""

    role: str
    time: str
    image: str
    """With its digest, whatever the spec names."""


class RunRecord(BaseModel):
    """The whole file."""

    job: str = ""
    namespace: str = ""
    uid: str = ""
    run_url: str = ""
    model_url: str | None = None
    """Hugging Face folder of the agent's newest finished model."""
    specs: list[SpecEntry] = []
    attempts: list[AttemptEntry] = []
    software: list[SoftwareEntry] = []
    images: list[ImageEntry] = []

    def to_bytes(self) -> bytes:
        return self.model_dump_json(indent=1).encode()


def parse(body: bytes) -> RunRecord:
    """Raises ValueError for a file that is no record."""
    try:
        return RunRecord.model_validate(json.loads(body))
    except ValidationError as error:
        raise ValueError(f"{FILE} is no record of a run: {error}") from error


def time_text(seconds: float) -> str:
    """Unix seconds as people read them, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def with_spec(record: RunRecord, desired: CoordinatorSpec, time: str) -> RunRecord:
    """The record after a spec took effect; one that is in it already changes nothing."""
    spec = desired.spec.model_dump(by_alias=True, mode="json", exclude_none=True)
    # A variable is meant for a pod: what it holds must not be where all who read results are.
    spec = without_secret_values(spec)
    specs, attempts = record.specs, record.attempts
    if not specs or specs[-1].spec != spec:
        entry = SpecEntry(time=time, generation=desired.spec_generation, spec=spec)
        specs = [*specs, entry]
    if all(one.attempt != desired.attempt for one in attempts):
        stages = desired.spec.stages
        attempts = [
            *attempts,
            AttemptEntry(
                attempt=desired.attempt,
                time=time,
                trainer_pods=desired.trainer_size or desired.spec.trainer.replicas,
                stage=stages[min(desired.stage_index, len(stages) - 1)].name,
            ),
        ]
    return record.model_copy(update={"specs": specs, "attempts": attempts})


def with_images(record: RunRecord, desired: CoordinatorSpec, time: str) -> RunRecord:
    """The record with the images that the operator has seen."""
    known = {(one.role, one.image) for one in record.images}
    added = [
        ImageEntry(role=role, time=time, image=image)
        for role, image in desired.images.items()
        if (role, image) not in known
    ]
    return record.model_copy(update={"images": [*record.images, *added]}) if added else record


def with_software(
    record: RunRecord, seen: Mapping[str, Iterable[Software]], time: str
) -> RunRecord:
    """The record with what the pods of each role run now; `seen` is by role."""
    found = list(record.software)
    known = [(one.role, Software(image=one.image, packages=one.packages)) for one in found]
    for role, softwares in seen.items():
        for one in softwares:
            # A pod of an older image says nothing: it leaves no entry.
            if one.packages and (role, one) not in known:
                known.append((role, one))
                found.append(
                    SoftwareEntry(role=role, time=time, image=one.image, packages=one.packages)
                )
    return record.model_copy(update={"software": found})


def software_of(beats: Iterable[Heartbeat]) -> dict[str, list[Software]]:
    """What living pods run, by role."""
    found: dict[str, list[Software]] = {}
    for beat in beats:
        known = found.setdefault(beat.role, [])
        if beat.software not in known:
            known.append(beat.software)
    return found
