"""Patches of pod templates that this operator refuses, and what a job that has one does. Pure.

The API takes any field of a pod, so some patches are refused only when they are merged. A new job,
or an edit, then waits for a correction. A patch that another revision of the operator took goes on:
the role keeps the template that it has, and a warning names the rule.

Which of the two it is, the live template shows at first: a patch that was taken has left its fields
there. From then on the record says it that each StatefulSet carries (`policies/updates.py`): in
place of a template's hash it holds a digest of all that the role's template is made from, so that
every later edit of it is one that is made by today's rules.
"""

from collections.abc import Mapping
from typing import Any

from sea_api.contract import MADE_BY_ANNOTATION
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.policy import Role
from sea_operator.observed import Blocker, Object, Observed, role_of
from sea_operator.policies.drift import is_subset
from sea_operator.policies.prerequisites import Unmet
from sea_operator.policies.updates import record
from sea_operator.resources.build import refused_patches, unpatched_hash
from sea_operator.resources.pod import digest
from sea_operator.resources.role_settings import template_of
from sea_operator.resources.strategic_merge import DIRECTIVE, MERGE_KEYS, Path
from sea_operator.settings import Images, revision


def refused(observed: Observed, spec: Spec, images: Images) -> Mapping[Role, str]:
    """All that are refused, and why."""
    return refused_patches(observed.job, spec, images)


def unmet(observed: Observed, spec: Spec, images: Images) -> tuple[Unmet, ...]:
    """Patches that wait for a correction."""
    return tuple(
        Unmet(Blocker("PodPatchRefused", why), frozenset({role}), refused=True)
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
    mark = f"{revision(images)}.{_inputs(observed, spec, role, images)}"
    annotations = {**meta.get("annotations", {}), MADE_BY_ANNOTATION: mark}
    return {**child, "metadata": {**meta, "annotations": annotations}}


def _is_inherited(observed: Observed, spec: Spec, role: Role, images: Images) -> bool:
    live = observed.stateful_set(role)
    if live is None:
        return False
    ours, _, made = record(live).partition(".")
    if ours == revision(images):
        return made == _inputs(observed, spec, role, images)
    patch = template_of(spec, role).patch
    added = {"labels": patch.metadata.labels, "annotations": patch.metadata.annotations}
    return carries(live["spec"]["template"], {"metadata": added, "spec": patch.spec.fields()})


def carries(live: Any, patch: Any, path: Path = ()) -> bool:
    """Whether an object has what a strategic-merge patch makes of it, and maybe more (defaults)."""
    if isinstance(patch, dict):
        if patch.get(DIRECTIVE) == "delete":
            return not live
        fields = {key: value for key, value in patch.items() if key != DIRECTIVE}
        have = live if isinstance(live, dict) else {}
        if patch.get(DIRECTIVE) == "replace" and not have.keys() <= fields.keys():
            return False
        return all(carries(have.get(key), value, (*path, key)) for key, value in fields.items())
    if isinstance(patch, list) and (key := MERGE_KEYS.get(path)):
        return _carries_entries(live or [], patch, path, key)
    if isinstance(patch, list) and path[-1:] == ("envFrom",):
        # The operator's own sources are added to a patch's (`resources/patch.py`).
        return all(one in (live or []) for one in patch)
    # The API server doesn't store an empty value.
    return is_subset(live, patch) or (not patch and not live)


def _carries_entries(live: list[Any], patch: list[Any], path: Path, key: str) -> bool:
    found = {entry.get(key): entry for entry in live}
    named = {entry[key]: entry for entry in patch if isinstance(entry, dict) and key in entry}
    if {DIRECTIVE: "replace"} in patch and not found.keys() <= named.keys():
        return False
    return all(carries(found.get(name), entry, path) for name, entry in named.items())


def _inputs(observed: Observed, spec: Spec, role: Role, images: Images) -> str:
    """Digest of all that a role's template is made from."""
    patch = template_of(spec, role).patch.model_dump(mode="json", by_alias=True)
    return digest([unpatched_hash(observed.job, spec, role, images), patch])
