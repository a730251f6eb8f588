"""What a job says that has no effect or is probably not meant; stops nothing. Pure.

The API server drops unknown fields before anybody sees them. `kubectl apply` and Argo CD leave a
copy of what they were given in an annotation of the job, and that is compared with the CRD here.
"""

import json
from collections.abc import Sequence
from typing import Any

from sea_api.findings import nulls
from sea_api.unknown_fields import dotted, unknown_fields
from sea_api.v1alpha1.advice import advice
from sea_operator.observed import Blocker, Job

ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"
MAX_NAMED = 10
"""Fields that a message names."""
OLDER_RULES = (
    "Another release of the operator admitted the job, which goes on as it did; new jobs like this "
    "are refused."
)


def dropped(last_applied: str | None) -> tuple[str, ...]:
    """A sentence for each field of the applied file that the API server dropped, or defaulted."""
    try:
        manifest: Any = json.loads(last_applied or "null")
    except ValueError:
        return ()  # anybody may write the annotation
    if not isinstance(manifest, dict):
        return ()
    unknown = [f"{dotted(one.path)}: {one.sentence}" for one in unknown_fields(manifest)]
    empty = [
        f"{dotted(('spec', *path))}: it is empty, so its default applies: give it a value"
        for path in nulls(manifest.get("spec", {}))
    ]
    return (*unknown, *empty)


def spec_warning(
    job: Job, inherited: Sequence[str] = (), later: Sequence[str] = ()
) -> Blocker | None:
    """Reason and sentences of the condition `SpecWarning`; None if there is nothing to say.

    Args:
        inherited: what else another release took and this one refuses (`Lifecycle.inherited`).
        later: what another stage needs and isn't there (`Lifecycle.later`).
    """
    older = [*job.broken_rules, *inherited]
    doubts = advice(job.spec) if job.spec else []
    advised = (f"{dotted(one.path)}: {one.sentence}" for one in doubts)
    found = [*job.dropped, *later, *older, *advised]
    if not found:
        return None
    more = len(found) - MAX_NAMED
    tail = f" And {more} more; `sea job check` lists all." if more > 0 else ""
    sentences = " ".join(f"{sentence.rstrip('.?')}." for sentence in found[:MAX_NAMED])
    if older:
        tail += " " + OLDER_RULES
    return Blocker(_reason(job, later, older), sentences + tail)


def _reason(job: Job, later: Sequence[str], older: Sequence[str]) -> str:
    if job.dropped:
        return "FieldsDropped"
    if later:
        return "NeededLater"
    return "OlderRules" if older else "ProbablyNotMeant"
