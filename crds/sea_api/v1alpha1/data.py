"""Where the job's model and data come from and where its results go."""

from enum import StrEnum

from pydantic import Field

from sea_api.v1alpha1.base import ApiModel


class Precision(StrEnum):
    FP32 = "Fp32"
    BF16 = "Bf16"


class OnBadRow(StrEnum):
    FAIL = "Fail"
    SKIP = "Skip"


class Model(ApiModel):
    name: str = Field(min_length=1, max_length=128)
    """The name under which the model is served."""
    source: str = Field(max_length=1024, pattern=r"^(s3://.+|hf://.+|builtin:tiny)$")
    """Base weights in HF layout: `s3://bucket/prefix`, `hf://owner/name`, or `builtin:tiny`."""
    precision: Precision = Precision.BF16
    """Number format of the served weights and of the trainer's forward pass."""
    context_length: int = Field(default=32768, ge=64, le=1048576)
    """The longest token sequence (prompt and answer, all turns) in tokens."""


class Storage(ApiModel):
    url: str = Field(max_length=1024, pattern=r"^s3://[a-z0-9][a-z0-9.-]+(/.*)?$")
    """Bucket and prefix under which the job keeps weights, checkpoints, data and reports."""
    endpoint: str | None = Field(default=None, max_length=1024, pattern=r"^https?://.+$")
    """Address of an S3 server that isn't AWS."""
    region: str = Field(default="us-east-1", max_length=64)
    credentials_secret: str | None = Field(default=None, max_length=253)
    """Secret in the job's namespace with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."""


class Data(ApiModel):
    sft: list[str] = Field(default=[], max_length=64)
    """`s3://` addresses of dialogue files (published `sft` JSONL layout)."""
    rl: list[str] = Field(default=[], max_length=64)
    """`s3://` addresses of task files (published `rl` JSONL layout)."""
    databases: str | None = Field(default=None, max_length=1024, pattern=r"^s3://.+$")
    """Folder that every row's `db_path` is relative to."""
    on_bad_row: OnBadRow = OnBadRow.FAIL
    """`Fail` stalls the job with file, line and reason; `Skip` counts the row and goes on."""
