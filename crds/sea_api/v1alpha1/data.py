"""Where the job's model and data come from and where its results go."""

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from sea_api import limits
from sea_api.v1alpha1.base import ApiModel
from sea_api.v1alpha1.rules import Transition, immutable
from sea_api.v1alpha1.types import HttpUrl, Int, ModelSource, ObjectName, S3Url


class Precision(StrEnum):
    FP32 = "Fp32"
    BF16 = "BF16"


class OnBadRow(StrEnum):
    FAIL = "Fail"
    SKIP = "Skip"


class ToolFormat(StrEnum):
    AUTO = "Auto"
    HERMES = "Hermes"
    QWEN25 = "Qwen25"
    QWEN3_XML = "Qwen3Xml"


class Model(ApiModel):
    """The base model."""

    transitions: ClassVar[tuple[Transition, ...]] = (
        immutable(
            "source", "source", "weights and checkpoints grew from it; create another job instead"
        ),
    )

    name: str = Field(
        min_length=1, max_length=128, pattern=r"^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$"
    )
    """The name under which the model is served."""
    source: ModelSource
    """Base weights in HF layout: `s3://bucket/prefix`, `hf://owner/name`, or `builtin:tiny`.
    Immutable."""
    precision: Precision = Precision.BF16
    """Number format of the served weights and of the trainer's forward pass."""
    context_length: Int = Field(default=limits.CONTEXT_LENGTH, ge=64, le=1048576)
    """The longest token sequence (prompt and answer, all turns) in tokens."""
    tool_format: ToolFormat = ToolFormat.AUTO
    """How the model writes tool calls. `Auto` reads it off the model's chat template; `Hermes` is
    JSON between `<tool_call>` tags, `Qwen25` the same as Qwen2.5 writes it, `Qwen3Xml` is
    `<function=...>` with `<parameter=...>`. Also counts for the user model."""


class Storage(ApiModel):
    """The object store that holds everything of the job that outlives its pods."""

    transitions: ClassVar[tuple[Transition, ...]] = (
        immutable("url", "url", "checkpoints are found below it; create another job instead"),
    )

    url: str = Field(max_length=1024, pattern=r"^s3://[a-z0-9][a-z0-9.-]+(/.*)?$")
    """Bucket and prefix under which the job keeps weights, checkpoints and reports. Immutable."""
    endpoint: HttpUrl | None = None
    """Address of an S3 server that isn't AWS."""
    region: str = Field(default="us-east-1", min_length=1, max_length=64)
    """Region that requests are signed for."""
    credentials_secret: ObjectName | None = None
    """Secret in the job's namespace with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; without it
    the pods' own identity counts."""


class Data(ApiModel):
    """What the stages learn from. May be edited while the job runs."""

    sft: list[S3Url] = Field(default=[], max_length=64)
    """`s3://` addresses of dialogue files (published `sft` JSONL layout); `.gz`, `.bz2`, `.xz`
    and `.zst` are unpacked."""
    rl: list[S3Url] = Field(default=[], max_length=64)
    """`s3://` addresses of task files (published `rl` JSONL layout); packed ones too."""
    databases: S3Url | None = None
    """Folder that every row's `db_path` is relative to."""
    on_bad_row: OnBadRow = OnBadRow.FAIL
    """`Fail` stalls the job with file, line and reason; `Skip` counts the row and goes on."""
