"""The block of a `Synthesis` stage, which makes tasks and dialogues."""

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from sea_api.v1alpha1.addresses import BaseUrl, S3Folder
from sea_api.v1alpha1.base import ApiModel
from sea_api.v1alpha1.edits import NEXT_STEP, Edits, Effect
from sea_api.v1alpha1.types import Int, ObjectName, Seed


class WorldSize(StrEnum):
    SMALL = "Small"
    MEDIUM = "Medium"
    LARGE = "Large"


class SynthesisEndpoint(ApiModel):
    """The model behind planner, workers, checkers and reflection."""

    edits: ClassVar[Edits] = NEXT_STEP.but(Effect.NEW_ATTEMPT, "api_key_secret")

    url: BaseUrl
    """OpenAI-compatible base URL, which `/chat/completions` is appended to."""
    model: str = Field(min_length=1, max_length=256)
    """Model name to ask for; the provenance of every row names it."""
    api_key_secret: ObjectName | None = None
    """Secret with OPENAI_API_KEY for the endpoint; absent means that it needs none."""
    concurrency: Int = Field(default=8, ge=1, le=1024)
    """Tasks in progress at one time."""


class SynthesisStage(ApiModel):
    """Makes tasks and dialogues for the job's domains.

    The data of each domain is stored under `stages/<stage>/data/<domain>/` (`my-library.library`
    for `my-library:library`). Later stages that name no files of their own read it in addition to
    what `spec.data` names. After an edit a running stage starts over.
    """

    edits: ClassVar[Edits] = NEXT_STEP

    tasks_per_domain: Int = Field(default=100, ge=1, le=1000000)
    """Accepted tasks to make per domain."""
    rounds: Int = Field(default=1, ge=1, le=100)
    """Rounds of planning, making, checking and reflection; the default of 1 plans once."""
    seed: Seed = 0
    """Seed of every random choice of the stage."""
    plans: Int = Field(default=64, ge=1, le=10000)
    """Plans per domain; no two overlap in goals, complexity, tool mode and user style."""
    worlds: Int = Field(default=4, ge=1, le=64)
    """Generated databases per domain that `databases` holds none for."""
    world_size: WorldSize = WorldSize.MEDIUM
    """Size of a generated database."""
    databases: S3Folder | None = None
    """Folder with a folder per domain (`retail/db.json`, `retail/policy.md`) in tau2-bench's
    layout; domains without one, and all if this is absent, get generated databases. The folder
    of `my-library:library` is `my-library.library` or, if that is missing, `library`."""
    endpoint: SynthesisEndpoint | None = None
    """Endpoint of the model whose agents make the data; absent means procedural workers, which
    need no model."""
