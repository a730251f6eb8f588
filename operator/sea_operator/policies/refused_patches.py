"""Patches of pod templates that this operator refuses, and what a job that has one does. Pure.

The API takes any field of a pod, so some patches are refused only when they are merged. A new job,
or an edit, then waits for a correction. A patch that an earlier release took goes on: the role
keeps the template that it has, and a warning names the rule. Which of the two it is, the record
says that each StatefulSet carries (`policies/updates.py`): of a patch that was there before this
revision of the operator it holds the patch's digest in place of a template's hash.
"""

from collections.abc import Mapping

from sea_api.contract import MADE_BY_ANNOTATION, role_name
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.policy import Role
from sea_operator.observed import Blocker, Object, Observed, is_leaving, is_ours, role_of
from sea_operator.policies.prerequisites import Unmet
from sea_operator.policies.updates import record
from sea_operator.resources.build import refused_patches
from sea_operator.resources.pod import digest
from sea_operator.resources.role_settings import template_of
from sea_operator.settings import Images, revision


def refused(observed: Observed, spec: Spec, images: Images) -> Mapping[Role, str]:
    """All that are refused, and why."""
    return refused_patches(observed.job, spec, images)


def unmet(observed: Observed, spec: Spec, images: Images) -> tuple[Unmet, ...]:
    """Patches that wait for a correction."""
    return tuple(
        Unmet(Blocker("PodPatchRefused", why), frozenset({role}))
        for role, why in refused(observed, spec, images).items()
        if not _is_inherited(observed, spec, role, images)
    )


def inherited(observed: Observed, spec: Spec, images: Images) -> tuple[str, ...]:
    """Why patches are refused that another revision of the operator took, a sentence each."""
    found = refused(observed, spec, images).items()
    return tuple(why for role, why in found if _is_inherited(observed, spec, role, images))


def noted(child: Object, observed: Observed, spec: Spec, images: Images) -> Object:
    """A StatefulSet whose patch was there before this revision, with a record of it; or `child`."""
    role, meta = role_of(child["metadata"]["labels"]), child["metadata"]
    if child["kind"] != "StatefulSet" or role is None:
        return child
    is_refused = role in refused(observed, spec, images)
    if not is_refused or not _is_inherited(observed, spec, role, images):
        return child
    mark = f"{revision(images)}.{_patch_digest(spec, role)}"
    annotations = {**meta.get("annotations", {}), MADE_BY_ANNOTATION: mark}
    return {**child, "metadata": {**meta, "annotations": annotations}}


def _is_inherited(observed: Observed, spec: Spec, role: Role, images: Images) -> bool:
    live = live_set(observed, role)
    if live is None:
        return False
    ours, _, made = record(live).partition(".")
    return ours != revision(images) or made == _patch_digest(spec, role)


def live_set(observed: Observed, role: Role) -> Object | None:
    """The StatefulSet of a role, if this job has one that stays."""
    found = observed.children.get(("StatefulSet", role_name(observed.job.name, role)))
    if found is None or is_leaving(found, observed.job) or not is_ours(found, observed.job):
        return None
    return found


def _patch_digest(spec: Spec, role: Role) -> str:
    return digest(template_of(spec, role).patch.model_dump(mode="json", by_alias=True))
