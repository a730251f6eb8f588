"""Why an episode failed: the first rule that holds."""

from typing import Any

import pytest

from sea_data.evaluation import failures
from sea_data.evaluation.failures import Failure
from sea_data.evaluation.records import EpisodeRecord


def record(reward: float | None = 0.0, stop: str = "UserStop", **more: Any) -> EpisodeRecord:
    return EpisodeRecord("shop", "t", "f:1", 0, 1, reward, stop=stop, **more)


def says(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


CALL = {"role": "assistant", "content": "", "tool_calls": [{"name": "x", "arguments": {}}]}
GOOD, BAD = {"role": "tool", "content": "{}"}, {"role": "tool", "content": "Error: no"}
WRONG, UNSAID = {"DB": 0.0, "COMMUNICATE": 1.0}, {"DB": 1.0, "COMMUNICATE": 0.0}


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (record(1.0), None),
        (record(1.0, "UserStop", transcript=(CALL, BAD)), None),
        (record(None, "", error="503"), Failure.INFRASTRUCTURE),
        (record(stop="BadFormat", details=WRONG), Failure.MALFORMED_CALL),
        (record(stop="Loop", details=WRONG), Failure.LOOP),
        (record(stop="ContextFull", details=WRONG), Failure.CONTEXT_FULL),
        (record(stop="TurnTooLong", details=WRONG), Failure.CONTEXT_FULL),
        (record(stop="MaxTurns", details=WRONG), Failure.TOO_MANY_TURNS),
        (record(stop="OutOfScope", details=WRONG), Failure.USER_GAVE_UP),
        (record(details=WRONG, transcript=(says("Your email?"),)), Failure.USER_GAVE_UP),
        (record(details=WRONG, transcript=(says("Done."),)), Failure.WRONG_DATABASE),
        (record(details=WRONG, transcript=(CALL, BAD, says("Ok?"))), Failure.TOOL_ERRORS),
        (record(details=WRONG, transcript=(CALL, BAD, CALL, GOOD)), Failure.WRONG_DATABASE),
        (record(details=UNSAID, transcript=(CALL, BAD)), Failure.MISSING_COMMUNICATION),
        (record(details={"DB": 0.0, "COMMUNICATE": 0.0}), Failure.WRONG_DATABASE),
        (record(details={"ENV_ASSERTION": 0.0}), Failure.FAILED_ASSERTION),
        (record(details={"NL_ASSERTION": 0.0}), Failure.FAILED_ASSERTION),
        (record(details={"ACTION": 0.0}), Failure.MISSING_ACTION),
        (record(0.4, details={"FUNCTION": 0.4}), Failure.FAILED_FUNCTION),
        (record(details={"DB": 0.0, "FUNCTION": 0.0}), Failure.WRONG_DATABASE),
        (record(), Failure.OTHER),
    ],
)
def test_kinds(given: EpisodeRecord, kind: Failure | None) -> None:
    assert failures.classify(given) is kind


def test_counts_by_domain() -> None:
    none = [record(None, stop=""), record(None), record(None)]
    found = failures.count([record(1.0), record(details=WRONG), record(stop="Loop"), *none])
    kinds = {"never-asked": 2, "infrastructure": 1, "loop": 1, "wrong-database": 1}
    assert found == {"shop": kinds}
    assert failures.count([record(1.0)]) == {"shop": {}}


def test_every_kind_has_words() -> None:
    assert set(failures.LABELS) == set(failures.MEANINGS) == set(Failure)
