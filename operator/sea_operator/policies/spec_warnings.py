"""What a job says that has no effect or is probably not meant; stops nothing. Pure."""

from sea_api.unknown_fields import dotted
from sea_api.v1alpha1.advice import advice
from sea_operator.observed import Blocker, Job

MAX_NAMED = 10
"""Fields that a message names."""


def spec_warning(job: Job) -> Blocker | None:
    """Reason and sentences of the condition `SpecWarning`; None if there is nothing to say."""
    doubts = advice(job.spec) if job.spec else []
    found = [*job.dropped, *(f"{dotted(one.path)}: {one.sentence}" for one in doubts)]
    if not found:
        return None
    more = len(found) - MAX_NAMED
    tail = f" And {more} more; `sea job check` lists all." if more > 0 else ""
    sentences = " ".join(f"{sentence.rstrip('.?')}." for sentence in found[:MAX_NAMED])
    reason = "FieldsDropped" if job.dropped else "ProbablyNotMeant"
    return Blocker(reason, sentences + tail)
