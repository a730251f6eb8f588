"""(role, cause) -> action, and who pays."""

import dataclasses
from typing import Any

import pytest

from sea_api.v1alpha1.policy import Action, Cause, FailurePolicy, FailureRule, Role
from sea_operator.policies.escalation import rule_for
from sea_operator.policies.failure_policy import counts, judge, sentence
from sea_operator.policies.failures import DetectedFailure


def policy(*rules: Any) -> Any:
    return FailurePolicy(rules=[FailureRule(**rule) for rule in rules])


def failure(
    make: Any, role: Any = Role.TRAINER, cause: Any = Cause.PROCESS_EXIT, pod: Any = "j-trainer-0"
) -> Any:
    return DetectedFailure(role, cause, pod, "It broke", make.now)


def verdict(make: Any, rules: Any = (), recent: Any = (), budget: Any = None, **seen: Any) -> Any:
    failure_policy = {"rules": list(rules), "budget": budget or {}}
    elastic = {"replicas": 2, "elastic": {"minReplicas": 1, "maxReplicas": 2}}
    spec = make.spec(failurePolicy=failure_policy, trainer=elastic)
    job = make.job(spec=spec, status=make.status())
    return judge(make.observed(job), failure(make, **seen), recent, make.now)


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("cause", [cause for cause in Cause if cause is not Cause.ANY])
def test_the_operator_has_an_answer_for_everything(make: Any, role: Any, cause: Any) -> None:
    seen = failure(make, role, cause)
    assert rule_for(FailurePolicy(), seen, []).action is Action.RESTART_PROCESS


def test_the_first_matching_rule_of_the_job_wins(make: Any) -> None:
    ours = policy(
        {"role": "Trainer", "cause": "Hang", "action": "RestartPod"},
        {"role": "Trainer", "cause": "Any", "action": "RestartRole"},
        {"role": "Trainer", "cause": "Hang", "action": "FailJob"},
    )
    for role, cause, action in (
        (Role.TRAINER, Cause.HANG, Action.RESTART_POD),
        (Role.TRAINER, Cause.EVICTION, Action.RESTART_ROLE),
        (Role.ROLLOUT, Cause.HANG, Action.RESTART_PROCESS),
    ):
        assert rule_for(ours, failure(make, role, cause), []).action is action


@pytest.mark.parametrize(
    ("rule_cause", "rule_counts", "cause", "expected"),
    [
        ("Any", True, Cause.PROCESS_EXIT, True),
        ("Any", False, Cause.PROCESS_EXIT, False),
        ("Any", True, Cause.EVICTION, False),
        ("Any", True, Cause.NODE_LOSS, False),
        ("Eviction", True, Cause.EVICTION, True),
        ("Eviction", False, Cause.EVICTION, False),
    ],
)
def test_infrastructure_is_free_unless_named(
    rule_cause: str, rule_counts: bool, cause: Any, expected: bool
) -> None:
    rule = FailureRule(
        role=Role.TRAINER, cause=rule_cause, action=Action.RESTART_PROCESS, counts=rule_counts
    )
    assert counts(rule, cause) is expected


@pytest.mark.parametrize(
    ("action", "deleted"),
    [
        ("RestartProcess", []),
        ("RestartPod", ["j-trainer-0"]),
        ("RestartRole", ["j-trainer-0", "j-trainer-1"]),
        ("Resize", []),
    ],
)
def test_every_trainer_action_begins_an_attempt(make: Any, action: str, deleted: Any) -> None:
    found = verdict(make, [{"role": "Trainer", "action": action}])
    assert [pod.name for pod in found.delete] == deleted
    assert (found.new_attempt, found.counted, found.recent) == (True, True, (int(make.now),))


def test_other_roles_are_the_kubelets_business_unless_a_rule_says_more(make: Any) -> None:
    seen = {"role": Role.ROLLOUT, "pod": "j-rollout-0"}
    assert not verdict(make, **seen).acts
    found = verdict(make, [{"role": "Rollout", "action": "RestartPod"}], **seen)
    assert [pod.name for pod in found.delete] == ["j-rollout-0"]
    assert (found.new_attempt, found.counted) == (False, True)


@pytest.mark.parametrize("edited", [False, True])
def test_a_users_mistake_starts_no_attempt_until_the_spec_is_edited(
    make: Any, edited: bool
) -> None:
    job = make.job(spec=make.spec(), status=make.status())
    seen = dataclasses.replace(failure(make, cause=Cause.USER_ERROR), edited=edited)
    found = judge(make.observed(job), seen, (1,), make.now)
    assert (found.new_attempt, found.counted, found.acts) == (edited, False, edited)


def test_a_rule_that_names_user_errors_wins_and_any_is_not_meant(make: Any) -> None:
    fails = [{"role": "Trainer", "cause": "UserError", "action": "FailJob"}]
    assert verdict(make, fails, cause=Cause.USER_ERROR).failed is not None
    restarts = [{"role": "Trainer", "cause": "Any", "action": "RestartRole"}]
    assert not verdict(make, restarts, cause=Cause.USER_ERROR).acts


def test_an_eviction_is_uncounted(make: Any) -> None:
    found = verdict(make, recent=(1, 2), cause=Cause.EVICTION)
    assert (found.new_attempt, found.counted, found.recent) == (True, False, (1, 2))


def test_an_exhausted_budget_fails_the_job_and_says_what_to_do(make: Any) -> None:
    now = int(make.now)
    found = verdict(make, recent=(now - 1, now - 2), budget={"restarts": 2})
    assert found.failed.reason == "RestartBudgetExhausted"
    assert "More than 2 restarts within 3600 s" in found.failed.message
    assert "An edit of the spec" not in found.failed.message
    assert "an edit of the spec runs the job again" in found.failed.message
    assert not found.new_attempt


BUDGET = "raise spec.failurePolicy.budget.restarts"


@pytest.mark.parametrize(
    ("cause", "advice", "more"),
    [
        (Cause.PROCESS_EXIT, f"only if each exit was an accident, {BUDGET}", True),
        (Cause.USER_ERROR, "Correct what it names in the job", False),
        (Cause.HANG, "Find what it waits for", False),
        (Cause.OUT_OF_MEMORY, "Give the role more memory", False),
        (Cause.EVICTION, f"If evictions are usual here, {BUDGET}", True),
        (Cause.NODE_LOSS, f"If lost nodes are usual here, {BUDGET}", True),
    ],
)
def test_a_larger_budget_is_advised_only_where_it_can_help(
    make: Any, cause: Any, advice: str, more: bool
) -> None:
    """And no command that asks for a pod, which may be gone."""
    now = int(make.now)
    rules = [{"role": "Trainer", "cause": cause.value, "action": "RestartProcess"}]
    found = verdict(make, rules, recent=(now - 1,), budget={"restarts": 1}, cause=cause)
    assert advice in found.failed.message
    assert (BUDGET in found.failed.message) is more
    assert "kubectl" not in found.failed.message


def test_a_failure_that_ends_the_job_names_the_log_that_is_kept(make: Any) -> None:
    place = "s3://bucket/prefix/j-0a1b2c3d/logs/j-trainer-0/trainer.attempt-1.failed.log"
    job = make.job(spec=make.spec(failurePolicy={"budget": {"restarts": 0}}), status=make.status())
    for logs, said in (({"j-trainer-0": place}, True), ({"j-trainer-1": place}, False)):
        found = judge(make.observed(job, logs=logs), failure(make), (), make.now).failed
        assert found is not None
        assert (f"The end of its log is kept ({place})." in found.message) is said


def test_a_rule_may_fail_the_job(make: Any) -> None:
    found = verdict(make, [{"role": "Trainer", "action": "FailJob"}])
    assert (found.failed.reason, found.counted) == ("FailurePolicy", False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", "No message was given."), (" a b ", "a b."), ("Done!", "Done!"), ("x" * 9, "xxxxx.")],
)
def test_messages_become_sentences(text: Any, expected: str) -> None:
    assert sentence(text, 5) == (expected if len(text) > 5 or len(text) < 6 else text)
