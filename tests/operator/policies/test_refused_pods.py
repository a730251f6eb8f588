"""What a StatefulSet's FailedCreate Event says, and whether a person must act."""

from typing import Any

import pytest

from sea_api.v1alpha1.policy import Role
from sea_operator.children import REFUSED_SECONDS
from sea_operator.decide import decide
from sea_operator.policies.refused_pods import blocker, is_final, words

PREFIX = "Create Pod j-rollout-0 in StatefulSet j-rollout failed error: "
FORBIDDEN = 'pods "j-rollout-0" is forbidden: '
NO_LIMITS = f"{FORBIDDEN}failed quota: team: must specify limits.cpu for: worker"


def exceeded(requested: str, limited: str, used: str = "limits.cpu=64") -> str:
    return (
        f"{FORBIDDEN}exceeded quota: team, requested: {requested}, used: {used}, limited: {limited}"
    )


@pytest.mark.parametrize(
    ("said", "pods", "final"),
    [
        (NO_LIMITS, 1, True),
        (exceeded("limits.cpu=65", "limits.cpu=64"), 1, True),
        (exceeded("limits.cpu=40", "limits.cpu=64"), 1, False),
        (exceeded("limits.cpu=40", "limits.cpu=64"), 2, True),
        (exceeded("limits.cpu=40,memory=1Gi", "limits.cpu=64,memory=1023Mi"), 1, True),
        (exceeded("pods=1", "pods=1"), 1, False),
        (exceeded("pods=1", "pods=1"), 2, True),
        (f'{FORBIDDEN}violates PodSecurity "restricted:latest": host namespaces', 1, True),
        (f"{FORBIDDEN}no PriorityClass with name high was found", 1, True),
        (f'{FORBIDDEN}error looking up service account n/irsa: serviceaccount "irsa"', 1, True),
        ('admission webhook "gate.example" denied the request: no', 1, True),
        ('Pod "j-0" is invalid: spec.containers[0].env: Required value', 1, True),
        ('Internal error occurred: failed calling webhook "x": context deadline', 1, False),
        ("Timeout: request did not complete within requested timeout", 1, False),
    ],
)
def test_a_refusal_is_final_if_only_a_person_can_end_it(said: str, pods: int, final: bool) -> None:
    assert is_final(said, pods) is final


CLAIM = "create Claim data-j-coordinator-0 Pod j-coordinator-0 in StatefulSet j-coordinator failed"


@pytest.mark.parametrize(
    "before", ["", PREFIX, f"{CLAIM} error: ", f"(combined from similar events): {PREFIX}"]
)
def test_the_servers_words_are_taken_out_of_the_event(before: str) -> None:
    assert words(before + NO_LIMITS) == NO_LIMITS


def test_the_sentence_names_set_words_and_fields(make: Any) -> None:
    observed = make.observed(refusals={Role.ROLLOUT: NO_LIMITS})
    found = blocker(observed, make.spec())
    assert found is not None
    assert found.reason == "PodsForbidden"
    assert found.message == (
        f"StatefulSet n/j-rollout may not make its pods: {NO_LIMITS}. Change what it objects to "
        "(spec.scheduling, spec.rollout.template, spec.rollout.worker), or have the quota or the "
        "policy of the namespace changed."
    )


def test_a_quota_that_is_used_up_stalls_nothing(make: Any) -> None:
    observed = make.observed(refusals={Role.ROLLOUT: exceeded("limits.cpu=1", "limits.cpu=64")})
    assert blocker(observed, make.spec()) is None
    assert blocker(make.observed(), make.spec()) is None


def test_refused_pods_are_tried_again_every_few_seconds(make: Any) -> None:
    """The StatefulSet controller's own pauses grow to a quarter of an hour."""
    job = make.job(status=make.status())

    def applied(refusals: Any, later: float = 0.0) -> dict[str, Any]:
        observed = make.observed(job, refusals=refusals)
        plan = decide(observed, make.context(now=make.now + later))
        return {child["metadata"]["name"]: child["metadata"] for child in plan.applies}

    assert applied({}) == {}
    refused = {Role.ROLLOUT: NO_LIMITS}
    first = applied(refused)
    assert set(first) == {"j-rollout"}
    assert applied(refused, 1)["j-rollout"] == first["j-rollout"]
    later = applied(refused, REFUSED_SECONDS)
    assert later["j-rollout"]["annotations"] != first["j-rollout"]["annotations"]
    assert applied({}) == {}, "what is shared by passes was not changed"


@pytest.mark.parametrize(
    ("requested", "limited", "final"),
    [
        ("pods=1", "pods=4", True),
        ("pods=1", "pods=5", False),
        ("count/pods=1", "count/pods=4", True),
        ("requests.cpu=1", "requests.cpu=4999m", True),
        ("requests.cpu=1", "requests.cpu=5", False),
        ("cpu=1", "cpu=4999m", True),
        ("limits.memory=1Gi", "limits.memory=2Gi", True),
        ("limits.memory=1Gi", "limits.memory=3Gi", False),
        ("requests.memory=1Gi", "requests.memory=2Gi", True),
        ("requests.nvidia.com/gpu=1", "requests.nvidia.com/gpu=8", False),
    ],
)
def test_a_job_that_waits_for_the_quota_of_its_own_pods_is_refused_for_good(
    make: Any, requested: str, limited: str, final: bool
) -> None:
    """Five pods, of which each alone fits: a CPU each, and a limit of 1Gi for three of them."""
    cpu = {"requests": {"cpu": "1"}}
    memory = {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}
    engine = {"template": cpu, "worker": {"requests": {"cpu": "0"}, "limits": {"memory": "0"}}}
    spec = make.spec(
        coordinator={"template": memory},
        trainer={"template": memory},
        rollout=engine,
        userModel=engine,
    )
    observed = make.observed(
        make.job(spec=spec), refusals={Role.COORDINATOR: exceeded(requested, limited)}
    )
    assert (blocker(observed, spec) is not None) is final


def test_an_elastic_role_that_asks_for_more_than_a_quota_has_stalls_nothing(make: Any) -> None:
    """Its smallest size fits; with one pod less there would be no room for that either."""
    spec = make.spec(rollout={"replicas": 1, "elastic": {"minReplicas": 1, "maxReplicas": 4}})
    more = make.spec(rollout={"replicas": 4})
    for most, final in (("pods=5", False), ("pods=4", True)):
        observed = make.observed(
            make.job(spec=spec),
            children=make.children(make.job(spec=more)),
            refusals={Role.ROLLOUT: exceeded("pods=1", most)},
        )
        assert (blocker(observed, spec) is not None) is final
