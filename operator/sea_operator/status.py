"""Computes the status that a pass reports, from what was observed, decided and done. Pure.

Numbers that change all the time are rounded: each change costs a write.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sea_api.contract import ROLES, role_label, role_name, selected_by
from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.status import EvaluationResult, Roles, RoleStatus, Status, Throughput
from sea_api.wire.state import CoordinatorState, StagePhase, StageState
from sea_operator.coordinator_spec import run_images, run_url
from sea_operator.observed import Blocker, Observed
from sea_operator.plan import Lifecycle, Outcome, Plan
from sea_operator.policies import waiting_pods
from sea_operator.policies.conditions import Situation, conditions, state_of
from sea_operator.policies.phase import failed_spec
from sea_operator.resources.role_settings import full_size
from sea_operator.spec_warnings import spec_warning
from sea_operator.timestamps import not_after, stamp

Fields = dict[str, Any]


def compute(
    observed: Observed,
    plan: Plan,
    failed: Sequence[Blocker],
    now: float,
    conflict: str | None = None,
) -> Status:
    """The whole status; fields that are unknown now keep their values.

    Args:
        failed: actions that failed.
        conflict: a sentence about another operator that works on the job too.
    """
    job, lifecycle = observed.job, plan.lifecycle
    pods = _pods(observed, lifecycle)
    situation = _situation(observed, plan, pods, failed, conflict, now)
    found = conditions(situation, job.status.conditions, job.generation, now)
    # Starts from the stored status: a coordinator that restarts doesn't blank its measurements.
    return job.status.model_copy(
        update={
            "observed_generation": job.generation,
            "conditions": found,
            "state": state_of(found),
            "trainer_attempt": lifecycle.attempt,
            "failed_spec": failed_spec(job, lifecycle),
            "fenced": list(lifecycle.fenced) or None,
            "restarts": lifecycle.restarts,
            "last_failure": lifecycle.last_failure,
            "recent_failures": list(lifecycle.recent_failures),
            "rollback": lifecycle.rollback,
            "roles": _roles(pods),
            "elastic": lifecycle.elastic.status,
            "rollout_selector": _selector(job.name),
            "images": run_images(observed) or None,
            **_progress(observed, lifecycle),
            **_fixed_stages(observed, lifecycle),
            **(_from_state(observed.state) if observed.state else {}),
            **_life(observed, lifecycle, now),
        }
    )


def _situation(
    observed: Observed,
    plan: Plan,
    pods: Mapping[str, tuple[int, int]],
    failed: Sequence[Blocker],
    conflict: str | None,
    now: float,
) -> Situation:
    job, state = observed.job, observed.state
    # Pods that aren't made first: the message has room for a few, and a quota is the rarer reason.
    waiting = {**_unmade(observed, pods), **waiting_pods.reasons(observed, now)}
    return Situation(
        plan.lifecycle,
        pods,
        _pending(observed, plan),
        (*failed, *observed.unread),
        waiting,
        update_waits=plan.update_waits,
        ignored=job.ignored,
        spec_warning=spec_warning(job, plan.lifecycle.inherited, plan.lifecycle.later),
        conflict=conflict,
        plan=state.plan if state else None,
        plan_unknown=state is None,
    )


def _pods(observed: Observed, lifecycle: Lifecycle) -> Mapping[str, tuple[int, int]]:
    """Ready and desired pods by role; for a blocked job, the sizes that its StatefulSets have."""
    spec = observed.job.spec
    held = {role: observed.replicas(role) or 0 for role in ROLES}
    # Empty only for a blocked job (`held`), whose StatefulSets keep what they have. Spares left out
    # here too: `resized` would take their number for another size of the trainer.
    kept = {role: held[role] for role in full_size(spec)} if spec else {}
    sizes = lifecycle.working or lifecycle.elastic.working(kept)
    return {role_label(role): (_ready(observed, role), size) for role, size in sizes.items()}


def _unmade(observed: Observed, pods: Mapping[str, tuple[int, int]]) -> Mapping[str, str]:
    """StatefulSets that lack pods, and why: a quota or a missing PriorityClass for example.

    Only once they have lacked them for a while: the pods of a new job come one after the other, and
    each would change the message.
    """
    job, found = observed.job, {}
    for role in ROLES:
        size = pods.get(role_label(role), (0, 0))[1]
        made = sum(pod.deleted is None for pod in observed.of_role(role))
        if made < size and role in observed.lacking:
            name = role_name(job.name, role)
            command = f"`kubectl describe statefulset -n {job.namespace} {name}` says why"
            why = observed.refusals.get(role, command)
            found[f"StatefulSet {name}"] = f"{made} of {size} pods made; {why}"
    return found


def _ready(observed: Observed, role: Role) -> int:
    return sum(pod.ready and pod.deleted is None for pod in observed.of_role(role))


def _roles(pods: Mapping[str, tuple[int, int]]) -> Roles:
    return Roles(
        **{role: RoleStatus(desired=size, ready=ready) for role, (ready, size) in pods.items()}
    )


def _selector(job: str) -> str:
    labels = selected_by(job, Role.ROLLOUT)
    return ",".join(f"{key}={value}" for key, value in labels.items())


def _pending(observed: Observed, plan: Plan) -> str | None:
    if observed.state is None:
        return observed.unreachable or "The coordinator doesn't answer."
    return "The coordinator hasn't taken the newest instructions yet." if plan.send else None


def _progress(observed: Observed, lifecycle: Lifecycle) -> Fields:
    """Stage and steps. A job that never ran has no stage; `policies/phase.py` relies on that."""
    spec, index = observed.job.spec, lifecycle.stage_index
    unstarted = observed.job.status.stage is None and lifecycle.suspension.releases
    if spec is None or index is None or unstarted:
        return {}
    name = spec.stages[index].name
    seen = _stage(observed.state, name)
    if seen is None:
        # No report of this stage: its old numbers stay, those of another stage are dropped.
        return {"stage": name} if name == observed.job.status.stage else _fresh(name)
    remaining = seen.remaining_seconds
    return {
        "stage": name,
        "step": seen.step,
        "total_steps": seen.total_steps,
        "progress": f"{seen.step}/{seen.total_steps}" if seen.total_steps else None,
        "remaining_seconds": None if remaining is None else 5 * round(max(0, remaining) / 5),
    }


def _fixed_stages(observed: Observed, lifecycle: Lifecycle) -> Fields:
    """How many stages have begun and ended. The API server refuses edits by them: they never go
    back, not even with a coordinator that lost its ledger."""
    spec, index, status = observed.job.spec, lifecycle.stage_index, observed.job.status
    if spec is None or index is None:
        return {}
    ended = len(spec.stages) if lifecycle.outcome is Outcome.COMPLETE else index
    seen = _stage(observed.state, spec.stages[index].name)
    begins = seen is not None and seen.phase is not StagePhase.PENDING
    begun = max(ended, index + int(begins))
    return {
        "stages_begun": max(begun, status.stages_begun or 0) or None,
        "stages_ended": max(ended, status.stages_ended or 0) or None,
    }


def _fresh(stage: str) -> Fields:
    """Fields of a stage that the coordinator hasn't reported yet."""
    unknown = ("step", "total_steps", "progress", "remaining_seconds")
    return {"stage": stage, **dict.fromkeys(unknown)}


def _stage(state: CoordinatorState | None, name: str) -> StageState | None:
    stages = state.stages if state else []
    return next((stage for stage in stages if stage.name == name), None)


def _from_state(state: CoordinatorState) -> Fields:
    """Measurements that the coordinator reports."""
    measured: Fields = {
        "reward": _rounded(state.reward, 4),
        "staleness": _rounded(state.staleness, 2),
        "weights": state.weights,
        "checkpoint": state.checkpoint,
        "goodput": None if state.goodput is None else f"{100 * state.goodput:.1f}",
        "throughput": _throughput(state),
        "evaluation": state.evaluation or None,
        "pass1": _pass1(state.evaluation),
        "model_url": state.model_url,
        "last_edit": state.edit,
        "last_rollback": state.rollback,
        "skipped_rows": None if state.skipped_rows is None else sum(state.skipped_rows.values()),
    }
    return {key: value for key, value in measured.items() if value is not None}


def _throughput(state: CoordinatorState) -> Throughput | None:
    generated, trained = state.generated_tokens_per_second, state.trained_tokens_per_second
    if generated is None and trained is None:
        return None
    return Throughput(generated=_two_digits(generated), trained=_two_digits(trained))


def _pass1(results: list[EvaluationResult]) -> str | None:
    """The newest stage's average, or its only domain."""
    if not results:
        return None
    newest = [result for result in results if result.stage == results[-1].stage]
    average = next((result for result in newest if result.domain == "average"), newest[-1])
    return f"{average.pass_hat1:.1f}"


def _life(observed: Observed, lifecycle: Lifecycle, now: float) -> Fields:
    status, spec = observed.job.status, observed.job.spec
    ended = not_after(status.completion_time or stamp(now), now)
    began = lifecycle.replicas and not lifecycle.suspension.releases
    return {
        "run_url": run_url(observed.job, spec) if spec else status.run_url,
        "start_time": status.start_time or (stamp(now) if began else None),
        "completion_time": ended if lifecycle.over else None,
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _two_digits(value: float | None) -> float:
    return float(f"{value or 0.0:.2g}")
