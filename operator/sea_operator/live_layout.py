"""The layouts that a job's pods were made for, which the coordinator must use too. Pure.

Training processes and engines take their layout from the coordinator, and their number from their
pod. A role whose pods can't be replaced now (`Lifecycle.frozen`) therefore keeps the layout that
they have, whatever the spec asks for: the next attempt, or an engine that starts again, goes
on in the same pods. An edit takes effect once the role gets pods again.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import orjson
from pydantic import ValidationError

from sea_api import lenient
from sea_api.contract import PARALLELISM_ANNOTATION
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.names import GPU
from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.roles import RolloutParallelism, TrainerParallelism
from sea_operator.observed import Object, Observed, Same
from sea_operator.pod_parsing import OWN_CONTAINERS
from sea_operator.resources.role_settings import edited, gpus_of

PARALLELISM: Mapping[Role, type[TrainerParallelism] | type[RolloutParallelism]] = {
    Role.TRAINER: TrainerParallelism,
    Role.ROLLOUT: RolloutParallelism,
    Role.USER: RolloutParallelism,
}


@dataclass(frozen=True)
class Layout:
    """What a role's pods were made for."""

    parallelism: TrainerParallelism | RolloutParallelism
    gpus_per_pod: int
    replicas: int | None = None
    """Of the trainer, the pods that hold ranks; engines work each for itself."""


def followed(observed: Observed, spec: Spec, frozen: frozenset[Role]) -> Spec:
    """The spec with the layouts that pods of frozen roles have; `spec` itself if it asks for them.

    The coordinator gets this spec.
    """
    found = ((role, _kept(observed, spec, role)) for role in PARALLELISM if role in frozen)
    kept = tuple((role, layout) for role, layout in found if layout is not None)
    return _with(Same(spec), kept) if kept else spec


def waits(observed: Observed, spec: Spec, frozen: frozenset[Role]) -> bool:
    """Whether the trainer can't take the layout that the spec asks for."""
    return Role.TRAINER in frozen and _kept(observed, spec, Role.TRAINER) is not None


def is_another(observed: Observed, spec: Spec) -> bool:
    """Whether the spec asks for another layout than the trainer's pods were made for.

    False without pods: nothing would be lost. Sizes of an elastic trainer are none: the API admits
    only such as the layout divides.
    """
    size = _ranks(observed)
    live = _live(observed, Role.TRAINER)
    if live is None or not size:
        return False
    if spec.trainer.elastic is None and spec.trainer.replicas != size:
        return True
    return _differs(live, spec, Role.TRAINER)


def trainer_pods(observed: Observed) -> int:
    """Pods that the trainer's StatefulSet asks for."""
    return observed.replicas(Role.TRAINER) or 0


# The same object for the same layouts: what is made from a spec is cached by its identity.
@functools.lru_cache(maxsize=256)
def _with(same: Same[Spec], kept: tuple[tuple[Role, Layout], ...]) -> Spec:
    spec = same.value
    for role, layout in kept:
        size = {} if layout.replicas is None else {"replicas": layout.replicas}
        given = {"parallelism": layout.parallelism, "gpus_per_pod": layout.gpus_per_pod}
        spec = edited(spec, role, **given, **size)
    return spec


def _kept(observed: Observed, spec: Spec, role: Role) -> Layout | None:
    """The layout of a role's pods; None if they can take the one that the spec asks for."""
    live = _live(observed, role)
    if live is None:
        return None
    ranks = _ranks(observed) if role is Role.TRAINER else None
    # Fewer pods of the same layout need none that is new.
    more = ranks is not None and spec.trainer.elastic is None and spec.trainer.replicas > ranks > 0
    if not more and not _differs(live, spec, role):
        return None
    parallelism = _read(_parallelism(live), role)
    return None if parallelism is None else Layout(parallelism, _gpus(live), ranks or None)


def _live(observed: Observed, role: Role) -> Object | None:
    """The pod template of a role that has pods."""
    found = observed.stateful_set(role)
    if found is None or not found["spec"].get("replicas", 1):
        return None
    template: Object = found["spec"]["template"]
    return template


def _ranks(observed: Observed) -> int:
    last = observed.job.status.roles
    return last.trainer.desired if last and last.trainer else 0


def _differs(live: Object, spec: Spec, role: Role) -> bool:
    asked: Mapping[Role, TrainerParallelism | RolloutParallelism] = {
        Role.TRAINER: spec.trainer.parallelism,
        Role.ROLLOUT: spec.rollout.parallelism,
        Role.USER: spec.user_model.parallelism,
    }
    if _gpus(live) != gpus_of(spec, role):
        return True
    wanted, noted = asked[role], _parallelism(live)
    # Read only where the text differs: an older release didn't note a field that has come since.
    return noted != wanted.model_dump_json() and _read(noted, role) != wanted


def _parallelism(template: Object) -> str:
    return str(template["metadata"].get("annotations", {}).get(PARALLELISM_ANNOTATION, ""))


def _read(parallelism: str, role: Role) -> TrainerParallelism | RolloutParallelism | None:
    """None for a template of a release that didn't note it, or in another way."""
    try:
        return lenient.read_admitted(PARALLELISM[role], orjson.loads(parallelism)).value
    except (ValueError, ValidationError):
        return None


def _gpus(template: Object) -> int:
    """GPUs of each pod, which one of our containers has; one that a patch adds may have its own."""
    ours = (one for one in template["spec"]["containers"] if one["name"] in OWN_CONTAINERS)
    limits = [(one.get("resources") or {}).get("limits") or {} for one in ours]
    return max((int(one.get(GPU, 0)) for one in limits), default=0)
