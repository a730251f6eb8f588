"""The judge of what replay and text can't decide, and limits of the rows' own functions."""

from typing import ClassVar

from pydantic import Field

from sea_api import limits
from sea_api.v1alpha1.addresses import BaseUrl
from sea_api.v1alpha1.base import ApiModel
from sea_api.v1alpha1.edits import NEXT_STEP, Edits, Effect
from sea_api.v1alpha1.rules import Rule
from sea_api.v1alpha1.types import Int, ObjectName, Temperature


class Judge(ApiModel):
    """A model behind an OpenAI-compatible endpoint that judges assertions in natural language."""

    edits: ClassVar[Edits] = NEXT_STEP.but(Effect.NEW_ATTEMPT, "api_key_secret")

    url: BaseUrl
    """OpenAI-compatible base URL, which `/chat/completions` is appended to."""
    model: str = Field(min_length=1, max_length=256)
    """Model name to ask for. Scores of two judges can't be compared: pin its version."""
    api_key_secret: ObjectName | None = None
    """Secret with OPENAI_API_KEY for the endpoint; absent means that it needs none. Pods are
    replaced one by one."""
    temperature: Temperature = 0.0
    """Sampling temperature of the verdicts; 0, the default, is greedy."""
    max_tokens: Int = Field(default=limits.JUDGE_MAX_TOKENS, ge=1, le=65536)
    """Longest verdict, its reasoning included, in tokens."""
    timeout_seconds: Int = Field(default=limits.REQUEST_TIMEOUT_SECONDS, ge=1, le=3600)
    """Limit of one request; it is retried a few times, then the episode runs again."""


class FunctionLimits(ApiModel):
    """What one run of a row's verification function may use; one that exceeds it earns 0."""

    edits: ClassVar[Edits] = NEXT_STEP

    invariants: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.timeoutSeconds >= self.cpuSeconds",
            message="verifier.functions.timeoutSeconds must not be less than cpuSeconds: raise it,"
            " or lower cpuSeconds",
            holds=lambda given: given.timeout_seconds >= given.cpu_seconds,
        ),
    )

    cpu_seconds: Int = Field(default=limits.FUNCTION_CPU_SECONDS, ge=1, le=600)
    """Processor time."""
    timeout_seconds: Int = Field(default=limits.FUNCTION_TIMEOUT_SECONDS, ge=1, le=3600)
    """Wall-clock time; generous by default, since a busy node must not cost a reward."""
    memory_bytes: Int = Field(
        default=limits.FUNCTION_MEMORY_BYTES, ge=limits.MIN_FUNCTION_MEMORY_BYTES, le=68719476736
    )
    """Address space on top of what the sandbox itself uses (default 512 MiB). Two functions run
    at a time in a rollout pod: leave it room for both."""


class Verifier(ApiModel):
    """How episodes are scored."""

    edits: ClassVar[Edits] = NEXT_STEP

    judge: Judge | None = None
    """Judge of tasks with NL_ASSERTION in their basis; without one such tasks are bad rows."""
    functions: FunctionLimits = FunctionLimits()
    """Limits of the rows' own verification functions."""
