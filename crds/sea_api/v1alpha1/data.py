"""The base model, the data that stages learn from, and the object store."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from sea_api import limits
from sea_api.v1alpha1 import forms
from sea_api.v1alpha1.addresses import ModelSource, S3File, S3Folder, ServerUrl, StorageUrl
from sea_api.v1alpha1.base import ApiModel, wire_name
from sea_api.v1alpha1.edits import IMMUTABLE, NEW_ATTEMPT, NEXT_STEP, Edits, Effect
from sea_api.v1alpha1.rules import Rule, Transition, immutable
from sea_api.v1alpha1.types import Int, ObjectName, Steps


class Precision(StrEnum):
    FP32 = "FP32"
    BF16 = "BF16"


class OnBadRow(StrEnum):
    FAIL = "Fail"
    SKIP = "Skip"


class ToolFormat(StrEnum):
    AUTO = "Auto"
    HERMES = "Hermes"
    QWEN25 = "Qwen25"
    QWEN3_XML = "Qwen3XML"


class ThinkingHistory(StrEnum):
    KEEP = "Keep"
    STRIP = "Strip"


class Model(ApiModel):
    """The base model."""

    edits: ClassVar[Edits] = IMMUTABLE

    transitions: ClassVar[tuple[Transition, ...]] = tuple(
        immutable(wire_name(field), field, f"{why}; create another job instead")
        for field, why in {
            "name": "running engines serve the model under it",
            "source": "weights and checkpoints grew from it",
            "precision": "weights and checkpoints are stored in it",
            "context_length": "engines, dialogues and episodes of the job were cut to it",
            "tool_format": "the policy was trained to write calls in it",
            "thinking_history": "the policy was trained on such prompts",
        }.items()
    )

    name: Annotated[str, Field(min_length=1, max_length=128), forms.MODEL_NAME]
    """Name under which engines serve the model, and that an `External` user model is asked for
    unless it names its own."""
    source: ModelSource
    """Base weights in HF layout: `s3://bucket/prefix`, `hf://owner/name` (with `@revision` for a
    branch, tag or commit), or `builtin:tiny`, a model of three million parameters that the
    coordinator builds."""
    precision: Precision = Precision.BF16
    """Number format of the served weights and of the trainer's forward pass."""
    context_length: Int = Field(default=limits.CONTEXT_LENGTH, ge=64, le=1048576)
    """Longest token sequence (prompt and answers of all turns) in tokens."""
    tool_format: ToolFormat = ToolFormat.AUTO
    """How the model writes tool calls, the user model included. `Auto` reads it from the model's
    chat template; `Hermes` is JSON between `<tool_call>` tags, `Qwen25` the same as Qwen2.5
    writes it, `Qwen3XML` is `<function=...>` with `<parameter=...>`."""
    thinking_history: ThinkingHistory = ThinkingHistory.KEEP
    """What becomes of the agent's thoughts once the user speaks again, in SFT, RL, Evaluation and
    the exported chat template alike. `Keep`: they stay, and an episode is one sample. `Strip`: the
    next prompt leaves them out, as stock templates of thinking models do; each exchange (the turns
    between two texts of the user) is then a sample of its own."""


class Addressing(StrEnum):
    PATH = "Path"
    VIRTUAL_HOST = "VirtualHost"


class CABundle(ApiModel):
    """A file of PEM certificates in a Secret or ConfigMap of the job's namespace."""

    edits: ClassVar[Edits] = NEW_ATTEMPT

    invariants: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.secretName) != has(self.configMapName)",
            message="caBundle takes its certificates from one object: set secretName or"
            " configMapName, not both and not neither",
            holds=lambda bundle: (bundle.secret_name is None) != (bundle.config_map_name is None),
        ),
    )

    secret_name: ObjectName | None = None
    """Secret that holds the file; absent means `configMapName`."""
    config_map_name: ObjectName | None = None
    """ConfigMap that holds the file; absent means `secretName`."""
    key: Annotated[str, Field(min_length=1, max_length=253), forms.FILE_KEY] = "ca.crt"
    """Name of the file in it."""


class Storage(ApiModel):
    """The object store that keeps everything that outlives the job's pods."""

    edits: ClassVar[Edits] = NEW_ATTEMPT.but(Effect.IMMUTABLE, "url")

    transitions: ClassVar[tuple[Transition, ...]] = (
        immutable("url", "url", "checkpoints are found below it; create another job instead"),
    )

    url: StorageUrl
    """Bucket and prefix under which the job keeps weights, checkpoints and reports."""
    endpoint: ServerUrl | None = None
    """Address of an S3 server other than AWS; absent means AWS."""
    region: Annotated[
        str, Field(default="us-east-1", min_length=1, max_length=64), forms.REGION
    ] = "us-east-1"
    """Region that requests are signed for."""
    addressing: Addressing | None = None
    """Where requests name the bucket: `Path` after the host, `VirtualHost` in it, as some stores
    other than AWS demand. Absent means `Path` with an `endpoint`, else what AWS prefers."""
    ca_bundle: CABundle | None = None
    """Certificates to trust, for a server whose own is signed by none of the public authorities;
    absent means those of the pods' image."""
    credentials_secret: ObjectName | None = None
    """Secret in the job's namespace with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; absent
    means the pods' own identity."""


class Data(ApiModel):
    """What the stages learn from. An edit is checked within seconds."""

    edits: ClassVar[Edits] = NEXT_STEP

    sft: list[S3File] = Field(default=[], max_length=64)
    """`s3://` addresses of dialogue files (published `sft` JSONL layout); `.gz`, `.bz2`, `.xz`
    and `.zst` are unpacked. Empty by default: dialogues come from Synthesis stages or from a
    stage's own `data`."""
    rl: list[S3File] = Field(default=[], max_length=64)
    """`s3://` addresses of task files (published `rl` JSONL layout); packed ones too. Empty by
    default: tasks come from Synthesis stages or from an Evaluation stage's own `tasks`."""
    databases: S3Folder | None = None
    """Folder that every row's `db_path` is relative to; needed only if rows have one."""
    on_bad_row: OnBadRow = OnBadRow.FAIL
    """`Fail` stalls the job with file, line and reason; `Skip` counts the row and leaves it out."""


class StartFrom(ApiModel):
    """A checkpoint of another run, which the first stage goes on from. Nothing is ever written to
    that run's folder."""

    edits: ClassVar[Edits] = IMMUTABLE

    run: S3Folder
    """`s3://` folder of the other run (`status.runUrl`), read with the job's own `storage.endpoint`
    and credentials. Pin the checkpoint (`sea checkpoint pin`) until this job has one of its own."""
    stage: Annotated[str, Field(min_length=1, max_length=40), forms.STAGE_NAME]
    """Stage of the other run; the first stage of this job has the same name and type."""
    step: Steps
    """Step of the checkpoint, as `sea checkpoint list` shows it."""
