"""Sizes of a job's elastic roles, from its spec, its last status and what was observed. Pure.

`elastic_trainer.py` and `elastic_engines.py` are the state machines. What follows from them: how
many pods a StatefulSet asks for (`asked`), and how many the role works with (`working`, shown as
`status.roles`). The two differ for a trainer that waits to grow: pods beyond its size are spares,
whose processes wait warm without a rank.
"""

from collections.abc import Mapping

from sea_api.redaction import redacted_to
from sea_api.v1alpha1.elastic import Elastic, trainer_sizes
from sea_api.v1alpha1.elastic_status import ElasticRole, ElasticStatus
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.policy import Action, Role
from sea_api.v1alpha1.roles import UserEngine
from sea_operator.elasticity import IDLE, Elasticity
from sea_operator.observed import Observed
from sea_operator.pods import Pod
from sea_operator.policies import elastic_engines, elastic_trainer
from sea_operator.policies.escalation import named_rule

Sizes = Mapping[Role, int]
MAX_WHY = 300
"""Characters of what a message says about pods that are missing."""


def ranges(spec: Spec) -> dict[Role, Elastic]:
    """The roles that have a range."""
    found: dict[Role, Elastic | None] = {
        Role.TRAINER: spec.trainer.elastic,
        Role.ROLLOUT: spec.rollout.elastic,
    }
    if spec.user_model.engine is UserEngine.VLLM:
        found[Role.USER] = spec.user_model.elastic
    return {role: elastic for role, elastic in found.items() if elastic is not None}


def least(spec: Spec, full: Sizes) -> dict[Role, int]:
    """Pods without which the job can't go on: of an elastic role, its smallest size."""
    elastic = ranges(spec)
    return {
        role: min(size, elastic[role].min_replicas) if role in elastic else size
        for role, size in full.items()
    }


def decide(
    observed: Observed, spec: Spec, full: Sizes, now: float, *, runs: bool, attempt_over: bool
) -> Elasticity:
    """The sizes of this pass.

    Args:
        full: what the stage needs.
        runs: the job isn't over, suspended or about to be.
        attempt_over: the trainer's attempt has failed or ended for another size.
    """
    elastic = ranges(spec)
    if not elastic:
        return Elasticity({})
    last = observed.job.status.elastic or ElasticStatus()
    found: dict[Role, ElasticRole] = {}
    for role, elastic_range in elastic.items():
        memory: ElasticRole | None = getattr(last, role.value.lower())
        pods = observed.of_role(role)
        running, coming = _running(observed, pods), _coming(observed, pods)
        # Not before its pods are asked for: those with GPUs wait for the coordinator's check.
        asked = observed.replicas(role)
        active = runs and full.get(role, 0) > 0 and bool(asked)
        refused = observed.refusals.get(role, "")
        why = _why(pods, memory.asked if memory else 0, running) or _clause(refused)
        if role is Role.TRAINER:
            # A new attempt would fence off the last checkpoint that their grace period is for.
            coming |= _leaving(observed, pods, now)
            seen = elastic_trainer.TrainerSeen(
                running,
                coming,
                active,
                why,
                attempt_over=attempt_over,
                may_shrink=_may_shrink(observed, spec),
                sized=_is_sized(observed, memory),
            )
            assert spec.trainer.elastic is not None
            sizes, trainer = trainer_sizes(spec.trainer), spec.trainer
            found[role] = elastic_trainer.step(
                memory, spec.trainer.elastic, sizes, trainer.replicas, seen, now
            )
        else:
            ready = frozenset(pod.ordinal for pod in pods if pod.ready and pod.ordinal in running)
            engines = elastic_engines.EnginesSeen(running, coming, active, why, ready)
            replicas = spec.rollout.replicas if role is Role.ROLLOUT else spec.user_model.replicas
            found[role] = elastic_engines.step(memory, elastic_range, replicas, engines, now)
    return Elasticity(found)


def remembered(observed: Observed) -> Elasticity:
    """The roles as the last status has them, for a pass that changes nothing."""
    last, spec = observed.job.status.elastic, observed.job.spec
    if last is None or spec is None:
        return Elasticity({})
    known = {role: getattr(last, role.value.lower()) for role in ranges(spec)}
    return Elasticity({role: one for role, one in known.items() if one is not None})


def _is_sized(observed: Observed, memory: ElasticRole | None) -> bool:
    """Whether the coordinator knows sizes; one that doesn't answer is what it was before."""
    if observed.state is None:
        # Only `elastic_trainer` says something of an idle role, and only of such a coordinator.
        return memory is None or memory.state != IDLE or not memory.message
    return observed.state.rank_pods is not None


def _may_shrink(observed: Observed, spec: Spec) -> bool:
    """False if the job's own rule for the last failure has another action than `Resize`."""
    last = observed.job.status.last_failure
    if last is None or last.role != Role.TRAINER:
        return True
    rule = named_rule(spec.failure_policy, Role.TRAINER, last.cause)
    return rule is None or rule.action is Action.RESIZE


def _running(observed: Observed, pods: tuple[Pod, ...]) -> frozenset[int]:
    return frozenset(pod.ordinal for pod in pods if _runs(observed, pod))


def _coming(observed: Observed, pods: tuple[Pod, ...]) -> frozenset[int]:
    return frozenset(
        pod.ordinal
        for pod in pods
        if not pod.began and pod.node is not None and _is_well(observed, pod)
    )


def _leaving(observed: Observed, pods: tuple[Pod, ...], now: float) -> frozenset[int]:
    """Ordinals of pods that are being deleted and hold their ranks until the last checkpoint."""
    return frozenset(
        pod.ordinal
        for pod in pods
        if pod.deleted is not None and now < pod.deleted and pod.began and _is_here(observed, pod)
    )


def _runs(observed: Observed, pod: Pod) -> bool:
    return pod.began and _is_well(observed, pod)


def _is_well(observed: Observed, pod: Pod) -> bool:
    # `waiting`: a container that can't be started, as after an image that is gone.
    return pod.deleted is None and not pod.waiting and _is_here(observed, pod)


def _is_here(observed: Observed, pod: Pod) -> bool:
    return not pod.cut_off and pod.node not in observed.dead_nodes


def _why(pods: tuple[Pod, ...], asked: int, running: frozenset[int]) -> str:
    """The words of the first pod that is missing, as the end of a clause; empty if it has none."""
    waiting = {pod.ordinal: pod for pod in pods if pod.waiting}
    first = next((waiting[one] for one in range(asked) if one in waiting), None)
    if first is None or first.ordinal in running:
        return ""
    return _clause(f"{first.name}: {first.waiting}")


def _clause(why: str) -> str:
    found = redacted_to(why.strip().rstrip(".:"), MAX_WHY)
    return f" ({found})" if found else ""
