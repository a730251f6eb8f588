"""Every unmet prerequisite has a reason and a sentence that says what to do."""

from typing import Any

import pytest

from sea_operator.observed import Blocker, Observed, SecretSeen
from sea_operator.policies.prerequisites import S3_KEYS, bad_secret, unmet

SETS = [("StatefulSet", "j-trainer")]


def blocker_of(observed: Observed, wanted: list[tuple[str, str]]) -> Blocker:
    """The blocker that must be there."""
    found = unmet(observed, wanted)
    if found is None and observed.job.spec is not None:
        found = bad_secret(observed, observed.job.spec)
    assert found is not None
    return found


def stranger(**meta: Any) -> Any:
    return {("StatefulSet", "j-trainer"): {"metadata": {"uid": "x", **meta}, "spec": {}}}


def owned_by(uid: Any) -> Any:
    return {"ownerReferences": [{"kind": "SEATrainingJob", "name": "j", "uid": uid}]}


def seen(*keys: str, **flaws: str) -> dict[str, SecretSeen]:
    return {"s3": SecretSeen(frozenset(keys), flaws=flaws)}


def test_nothing_is_unmet_in_a_settled_world(make: Any) -> None:
    assert unmet(make.observed(), SETS) is None


def test_an_invalid_spec_comes_with_its_sentence(make: Any) -> None:
    job = make.job(invalid="The job can't be read: spec.x: no. Edit the job.")
    blocker = blocker_of(make.observed(job), [])
    assert (blocker.reason, blocker.message) == ("InvalidSpec", job.invalid)


@pytest.mark.parametrize(
    ("secrets", "reason", "says"),
    [
        ({}, "SecretNotFound", "Secret n/s3 that spec.storage.credentialsSecret names doesn't"),
        (seen("AWS_ACCESS_KEY_ID"), "SecretIncomplete", "lacks AWS_SECRET_ACCESS_"),
        (seen(), "SecretIncomplete", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        (
            seen(*S3_KEYS, AWS_SECRET_ACCESS_KEY="ends with a line break"),
            "SecretUnusable",
            "Key AWS_SECRET_ACCESS_KEY of Secret n/s3 that spec.storage.credentialsSecret names "
            "ends with a line break; correct it",
        ),
        (
            seen(*S3_KEYS, "AWS_SESSION_TOKEN", AWS_SESSION_TOKEN="is empty"),
            "SecretUnusable",
            "Key AWS_SESSION_TOKEN of Secret n/s3",
        ),
    ],
)
def test_a_secret_must_exist_with_its_keys(make: Any, secrets: Any, reason: str, says: str) -> None:
    blocker = blocker_of(make.observed(secrets=secrets), SETS)
    assert blocker.reason == reason
    assert says in blocker.message


def test_no_secret_is_needed_where_none_is_named(make: Any) -> None:
    job = make.job(spec=make.spec(storage={"credentialsSecret": None}))
    assert unmet(make.observed(job, secrets={}), SETS) is None


def test_an_external_user_model_needs_its_key(make: Any) -> None:
    user = {"engine": "External", "url": "http://x", "apiKeySecret": "openai"}
    job = make.job(spec=make.spec(userModel=user))
    blocker = blocker_of(make.observed(job), [])
    assert "Secret n/openai that spec.userModel.apiKeySecret names doesn't exist" in blocker.message
    assert "with key OPENAI_API_KEY or" in blocker.message


def test_a_judge_needs_its_key(make: Any) -> None:
    judge = {"url": "http://x", "model": "m", "apiKeySecret": "openai"}
    blocker = blocker_of(make.observed(make.job(spec=make.spec(verifier={"judge": judge}))), [])
    assert "Secret n/openai that spec.verifier.judge.apiKeySecret names" in blocker.message


@pytest.mark.parametrize(
    ("meta", "reason"),
    [
        ({}, "NameTaken"),
        (owned_by("somebody-else"), None),
        ({**owned_by("0a1b2c3d-0000-4000-8000-000000000001")}, None),
        ({"deletionTimestamp": "2027-01-15T08:00:00Z"}, None),
    ],
)
def test_a_taken_name_stalls_unless_it_is_ours_or_leaving(
    make: Any, meta: Any, reason: str | None
) -> None:
    blocker = unmet(make.observed(children=stranger(**meta)), SETS)
    assert (blocker.reason if blocker else None) == reason


def test_a_foreign_or_broken_auth_secret_is_named(make: Any) -> None:
    foreign = blocker_of(make.observed(foreign_secret=True), SETS)
    assert (foreign.reason, "Secret n/j-auth" in foreign.message) == ("NameTaken", True)
    broken = blocker_of(make.observed(broken_secret=True), SETS)
    assert (broken.reason, "n/j-auth" in broken.message) == ("TokenMissing", True)


def test_a_synthesis_endpoint_needs_its_key(make: Any) -> None:
    endpoint = {"url": "http://x", "model": "m", "apiKeySecret": "openai"}
    stages = [{"name": "make", "type": "Synthesis", "synthesis": {"endpoint": endpoint}}]
    spec = make.spec(stages=[*stages, *make.raw_spec()["stages"]])
    blocker = blocker_of(make.observed(make.job(spec=spec)), [])
    assert "Secret n/openai that spec.stages[0].synthesis.endpoint.apiKeySecret" in blocker.message
    stages[0]["synthesis"] = {}
    spec = make.spec(stages=[*stages, *make.raw_spec()["stages"]])
    assert unmet(make.observed(make.job(spec=spec)), []) is None
