"""Why an episode failed: one main kind per episode, from its end, its verdict and its calls. Pure.

The first rule that holds names the kind, from what says least about the agent (infrastructure) to
what only the end state shows. The order matters: a dialogue that looped also has a wrong database.
"""

from collections.abc import Callable, Iterable
from enum import StrEnum

from sea_data.evaluation.records import EpisodeRecord
from sea_env.episodes.limits import Stop
from sea_env.tokens.messages import calls_of


class Failure(StrEnum):
    """Values are what JSON holds and what the page filters by."""

    NEVER_ASKED = "never-asked"
    INFRASTRUCTURE = "infrastructure"
    MALFORMED_CALL = "malformed-call"
    LOOP = "loop"
    CONTEXT_FULL = "context-full"
    TOO_MANY_TURNS = "too-many-turns"
    USER_GAVE_UP = "user-gave-up"
    TOOL_ERRORS = "tool-errors"
    WRONG_DATABASE = "wrong-database"
    MISSING_COMMUNICATION = "missing-communication"
    FAILED_ASSERTION = "failed-assertion"
    MISSING_ACTION = "missing-action"
    FAILED_FUNCTION = "failed-function"
    OTHER = "other"


LABELS = {
    Failure.NEVER_ASKED: "No verdict (agent never asked)",
    Failure.INFRASTRUCTURE: "No verdict (infrastructure)",
    Failure.MALFORMED_CALL: "Malformed call",
    Failure.LOOP: "Loop",
    Failure.CONTEXT_FULL: "Out of tokens",
    Failure.TOO_MANY_TURNS: "Too many turns",
    Failure.USER_GAVE_UP: "User gave up",
    Failure.TOOL_ERRORS: "Tool errors",
    Failure.WRONG_DATABASE: "Wrong database change",
    Failure.MISSING_COMMUNICATION: "Missing communication",
    Failure.FAILED_ASSERTION: "Failed assertion",
    Failure.MISSING_ACTION: "Missing action",
    Failure.FAILED_FUNCTION: "Verification function",
    Failure.OTHER: "Other",
}

MEANINGS = {
    Failure.NEVER_ASKED: "The episode ended before the agent had a turn; not counted as a failure.",
    Failure.INFRASTRUCTURE: "An endpoint or the environment broke; not counted as a failure.",
    Failure.MALFORMED_CALL: "The agent wrote something that is neither text nor a valid call.",
    Failure.LOOP: "The agent repeated the very same turn.",
    Failure.CONTEXT_FULL: "The context or a turn's token limit was reached.",
    Failure.TOO_MANY_TURNS: "The limit of turns was reached.",
    Failure.USER_GAVE_UP: "The user left while the agent was still asking, was out of scope, or "
    "called tools of its own without end.",
    Failure.TOOL_ERRORS: "The last tool call of the agent was refused, and it did not recover.",
    Failure.WRONG_DATABASE: "The end state is not what the expected actions leave behind.",
    Failure.MISSING_COMMUNICATION: "The agent did not say what the task asks to be said.",
    Failure.FAILED_ASSERTION: "An assertion on the end state or the dialogue does not hold.",
    Failure.MISSING_ACTION: "An expected call was not made.",
    Failure.FAILED_FUNCTION: "The task's own function gave less than 1, or failed.",
    Failure.OTHER: "The verifier gave no reward, for none of the reasons above.",
}


def classify(record: EpisodeRecord) -> Failure | None:
    """The main kind of a failed episode, None for one that passed."""
    if record.passed:
        return None
    return next((kind for kind, holds in _RULES if holds(record)), Failure.OTHER)


def count(records: Iterable[EpisodeRecord]) -> dict[str, dict[str, int]]:
    """Failed episodes by domain and kind, kinds in the order of the rules."""
    found: dict[str, dict[str, int]] = {}
    for record in records:
        kinds = found.setdefault(record.domain, dict.fromkeys(map(str, Failure), 0))
        kind = classify(record)
        if kind is not None:
            kinds[kind] += 1
    return {
        domain: {kind: number for kind, number in kinds.items() if number}
        for domain, kinds in sorted(found.items())
    }


def outcomes(record: EpisodeRecord) -> list[bool]:
    """Whether each tool result, in order, is an error (tools answer `Error: ...`)."""
    return [
        str(message.get("content") or "").startswith("Error")
        for message in record.transcript
        if message["role"] == "tool"
    ]


def _stopped(*stops: Stop) -> Callable[[EpisodeRecord], bool]:
    return lambda record: record.stop in stops


def _failed(*parts: str) -> Callable[[EpisodeRecord], bool]:
    return lambda record: any(record.details.get(part) == 0 for part in parts)


def _short_of(part: str) -> Callable[[EpisodeRecord], bool]:
    """A function may give any share of the reward."""

    def holds(record: EpisodeRecord) -> bool:
        value = record.details.get(part)
        return isinstance(value, int | float) and value < 1

    return holds


def _gave_up(record: EpisodeRecord) -> bool:
    """Out of scope, stuck in its own tools, or gone while the agent, without a call, was asking.

    A user who leaves after an agent that says it is done has not given up; it was misled.
    """
    if record.stop in {Stop.OUT_OF_SCOPE, Stop.USER_STUCK}:
        return True
    turns = [m for m in record.transcript if m["role"] == "assistant"]
    asking = bool(turns) and "?" in str(turns[-1].get("content") or "")
    begun = any(calls_of(turn) for turn in turns)
    return record.stop == Stop.USER_STOP and asking and not begun


def _tool_errors(record: EpisodeRecord) -> bool:
    if record.stop == Stop.TOOL_ERRORS:
        return True
    found = outcomes(record)
    return bool(found) and found[-1] and _state_wrong(record)


_state_wrong = _failed("DB", "ACTION", "ENV_ASSERTION")

_RULES: tuple[tuple[Failure, Callable[[EpisodeRecord], bool]], ...] = (
    (Failure.NEVER_ASKED, lambda record: record.never_asked),
    (Failure.INFRASTRUCTURE, lambda record: record.reward is None),
    (Failure.MALFORMED_CALL, _stopped(Stop.BAD_FORMAT)),
    (Failure.LOOP, _stopped(Stop.LOOP)),
    (Failure.CONTEXT_FULL, _stopped(Stop.CONTEXT_FULL, Stop.TURN_TOO_LONG)),
    (Failure.TOO_MANY_TURNS, _stopped(Stop.MAX_TURNS, Stop.MAX_MESSAGES)),
    (Failure.USER_GAVE_UP, _gave_up),
    (Failure.TOOL_ERRORS, _tool_errors),
    (Failure.WRONG_DATABASE, _failed("DB")),
    (Failure.MISSING_COMMUNICATION, _failed("COMMUNICATE")),
    (Failure.FAILED_ASSERTION, _failed("ENV_ASSERTION", "NL_ASSERTION")),
    (Failure.MISSING_ACTION, _failed("ACTION")),
    (Failure.FAILED_FUNCTION, _short_of("FUNCTION")),
)
