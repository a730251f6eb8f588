"""Every unmet prerequisite has a reason and a sentence that says what to do."""

from typing import Any

import pytest

from sea_api.v1alpha1.policy import Role
from sea_operator.observed import Blocker, Observed, SecretSeen
from sea_operator.policies.prerequisites import S3_KEYS, Unmet, unmet


def found(observed: Observed) -> tuple[Unmet, ...]:
    """What isn't met of a job that can be read."""
    assert observed.job.spec is not None
    return unmet(observed, observed.job.spec)


def blocker_of(observed: Observed) -> Blocker:
    """The first blocker, which must be there."""
    return found(observed)[0].blocker


def stranger(**meta: Any) -> Any:
    return {("StatefulSet", "j-trainer"): {"metadata": {"uid": "x", **meta}, "spec": {}}}


def owned_by(uid: Any) -> Any:
    return {"ownerReferences": [{"kind": "SEATrainingJob", "name": "j", "uid": uid}]}


def seen(*keys: str, **flaws: str) -> dict[str, SecretSeen]:
    return {"s3": SecretSeen(frozenset(keys), flaws=flaws)}


def test_nothing_is_unmet_in_a_settled_world(make: Any) -> None:
    assert found(make.observed()) == ()


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
    blocker = blocker_of(make.observed(secrets=secrets))
    assert blocker.reason == reason
    assert says in blocker.message


def test_no_secret_is_needed_where_none_is_named(make: Any) -> None:
    job = make.job(spec=make.spec(storage={"credentialsSecret": None}))
    assert found(make.observed(job, secrets={})) == ()


def test_an_external_user_model_needs_its_key(make: Any) -> None:
    user = {"engine": "External", "url": "http://x", "apiKeySecret": "openai"}
    job = make.job(spec=make.spec(userModel=user))
    blocker = blocker_of(make.observed(job))
    assert "Secret n/openai that spec.userModel.apiKeySecret names doesn't exist" in blocker.message
    assert "with key OPENAI_API_KEY or" in blocker.message


def test_a_judge_needs_its_key(make: Any) -> None:
    judge = {"url": "http://x", "model": "m", "apiKeySecret": "openai"}
    blocker = blocker_of(make.observed(make.job(spec=make.spec(verifier={"judge": judge}))))
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
    unmet = found(make.observed(children=stranger(**meta)))
    assert [one.blocker.reason for one in unmet] == ([reason] if reason else [])
    assert {one.taken for one in unmet} == ({("StatefulSet", "j-trainer")} if reason else set())


def test_a_foreign_or_broken_auth_secret_is_named(make: Any) -> None:
    foreign = blocker_of(make.observed(foreign_secret=True))
    assert (foreign.reason, "Secret n/j-auth" in foreign.message) == ("NameTaken", True)
    broken = blocker_of(make.observed(broken_secret=True))
    assert (broken.reason, "n/j-auth" in broken.message) == ("TokenMissing", True)


def test_a_synthesis_endpoint_needs_its_key(make: Any) -> None:
    endpoint = {"url": "http://x", "model": "m", "apiKeySecret": "openai"}
    stages = [{"name": "make", "type": "Synthesis", "synthesis": {"endpoint": endpoint}}]
    spec = make.spec(stages=[*stages, *make.raw_spec()["stages"]])
    blocker = blocker_of(make.observed(make.job(spec=spec)))
    assert "Secret n/openai that spec.stages[0].synthesis.endpoint.apiKeySecret" in blocker.message
    stages[0]["synthesis"] = {}
    spec = make.spec(stages=[*stages, *make.raw_spec()["stages"]])
    assert found(make.observed(make.job(spec=spec))) == ()


def test_a_secret_concerns_the_roles_whose_pods_are_started_with_it(make: Any) -> None:
    judge = {"url": "http://x", "model": "m", "apiKeySecret": "openai"}
    job = make.job(spec=make.spec(verifier={"judge": judge}))
    (unmet,) = found(make.observed(job))
    assert unmet.roles == {Role.ROLLOUT}
    both = found(make.observed(job, secrets={}))
    assert [one.roles for one in both] == [frozenset(Role), {Role.ROLLOUT}]


@pytest.mark.parametrize(("size", "waits"), [(0, True), (1, False)])
def test_a_secret_that_cannot_be_read_holds_only_a_job_that_runs_nothing(
    make: Any, size: int, waits: bool
) -> None:
    """A suspended job has sets too, and resumes into pods that may not start."""
    job = make.job()
    children = make.children(job, dict.fromkeys(Role, size))
    unread = (Blocker("SecretUnreadable", "Secret n/s3 can't be read."),)
    seen = {"secrets": {}, "unread": unread, "unread_secrets": frozenset({"s3"})}
    assert bool(found(make.observed(job, children=children, **seen))) is waits
