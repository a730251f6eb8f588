"""Events about what changed between two statuses: for people, never read by the operator."""

import logging
from dataclasses import dataclass
from typing import Any

from sea_api.v1alpha1.elastic_status import ElasticRole, ElasticStatus
from sea_api.v1alpha1.job import GROUP, KIND, VERSION
from sea_api.v1alpha1.status import CheckpointStatus, Condition, Roles, Status
from sea_api.wire.state import Fit
from sea_operator.elasticity import GROWING
from sea_operator.errors import KubeError
from sea_operator.kube.client import KubeClient
from sea_operator.observed import Job
from sea_operator.policies import rollback
from sea_operator.policies.conditions import ROUTINE
from sea_operator.policies.escalation import avoided, note
from sea_operator.policies.phase import condition
from sea_operator.timestamps import stamp, unix_seconds

log = logging.getLogger(__name__)


REPORTED = (
    "Reconciling",
    "Stalled",
    "Suspended",
    "Complete",
    "Failed",
    "UpdateWaiting",
    "FieldsIgnored",
    "SpecWarning",
    "Planned",
)
WARNINGS = frozenset(
    {"Reconciling", "Stalled", "Failed", "FieldsIgnored", "SpecWarning", "Planned"}
)
ELASTIC_WARNINGS = frozenset({"PodsGivenUp", "RunsSmaller"})
CHECKPOINT_SECONDS = 600
"""Of the clock; one Event at most is about a checkpoint of a stage in each."""


@dataclass(frozen=True)
class Event:
    """One line of `kubectl describe`."""

    reason: str
    message: str
    warning: bool = False


async def post(client: KubeClient, job: Job, event: Event, identity: str, now: float) -> None:
    """Creates an Event; a failure is only logged, since no decision depends on Events."""
    log.info("event", extra={"job": f"{job.namespace}/{job.name}", "reason": event.reason})
    try:
        body = event_body(job, event, identity, now)
        await client.record(job.namespace, body)
    except KubeError as error:
        log.warning("event not written: %s", error)


def between(old: Status, new: Status) -> tuple[Event, ...]:
    """Events about the differences, each once, in the order of the conditions."""
    return (
        *_conditions(old, new),
        *_stage(old, new),
        *_scaled(old, new),
        *_elastic(old, new),
        *_edit(old, new),
        *_rollback_asked(old, new),
        *_rollback(old, new),
        *_attempt(old, new),
        *_avoided(old, new),
        *_fenced(old, new),
        *_checkpoint(old, new),
        *_wrong_weights(old, new),
        *_evaluated(old, new),
    )


def event_body(job: Job, event: Event, identity: str, now: float) -> dict[str, Any]:
    """The core/v1 Event to create."""
    about = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "name": job.name,
        "namespace": job.namespace,
        "uid": job.uid,
    }
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{job.name}.", "namespace": job.namespace},
        "involvedObject": about,
        "reason": event.reason,
        # The bound of `note` in events.k8s.io, which serves the same objects.
        "message": event.message[:1024],
        "type": "Warning" if event.warning else "Normal",
        "source": {"component": "sea-operator", "host": identity},
        "firstTimestamp": stamp(now),
        "lastTimestamp": stamp(now),
        "count": 1,
    }


def _conditions(old: Status, new: Status) -> list[Event]:
    pairs = ((kind, condition(old, kind), condition(new, kind)) for kind in REPORTED)
    return [
        Event(after.reason, after.message, kind in WARNINGS)
        for kind, before, after in pairs
        if after is not None
        and after.status != "False"
        and (kind != "Reconciling" or after.reason not in ROUTINE)
        # A job that fits is no news; one that can't fit is `Stalled`, which is reported above.
        and (kind != "Planned" or after.reason == Fit.TIGHT)
        and (before is None or _said(before) != _said(after))
    ]


def _said(found: Condition) -> tuple[str, ...]:
    """What makes a condition news; messages of others count pods and seconds."""
    message = found.message if found.type == "SpecWarning" else ""
    return found.status, found.reason, message


def _stage(old: Status, new: Status) -> list[Event]:
    if new.stage is None or new.stage == old.stage:
        return []
    return [Event("StageStarted", f"Stage {new.stage} begins.")]


def _edit(old: Status, new: Status) -> list[Event]:
    edit = new.last_edit
    if edit is None or edit == old.last_edit:
        return []
    return [Event("SpecEdited", f"Generation {edit.generation}: {edit.message}")]


def _rollback_asked(old: Status, new: Status) -> list[Event]:
    """A request was refused, or another attempt begins for it."""
    asked, before = new.rollback, old.rollback
    if asked is None:
        return []
    # Not for other words: those of a step that isn't there list all steps, of which each new one
    # would be another warning.
    known = before and (before.generation, before.state, before.attempt)
    if known == (asked.generation, asked.state, asked.attempt):
        return []
    target = f"step {asked.step} of stage {asked.stage}"
    if asked.state == rollback.REFUSED:
        return [Event("RollbackRefused", f"Not gone back to {target}: {asked.message}", True)]
    if asked.state == rollback.GOING_BACK:
        return [Event("GoingBack", f"Attempt {asked.attempt} goes back to {target}.")]
    return []


def _rollback(old: Status, new: Status) -> list[Event]:
    went = new.last_rollback
    if went is None or went == old.last_rollback:
        return []
    message = (
        f"Stage {went.stage} went back from the checkpoint of step {went.from_step} to step "
        f"{went.step}: the newer ones are damaged or were rolled back. Weights, ledger and data "
        "go on from there."
    )
    return [Event("RolledBack", message, True)]


def _scaled(old: Status, new: Status) -> list[Event]:
    """Roles whose size changed; the first sizes of a job are no change."""
    if old.roles is None or new.roles is None:
        return []
    sizes = [(role, _size(old, role), _size(new, role)) for role in Roles.model_fields]
    changed = [f"{role} from {was} to {now}" for role, was, now in sizes if was != now]
    if not changed:
        return []
    return [Event("Scaled", f"Pods of stage {new.stage or 'none'}: {', '.join(changed)}.")]


def _elastic(old: Status, new: Status) -> list[Event]:
    """What the operator did about the sizes of elastic roles, and why."""
    if old.elastic is None or new.elastic is None:
        return []
    pairs = {
        role: (getattr(old.elastic, role), getattr(new.elastic, role))
        for role in ElasticStatus.model_fields
    }
    return [
        Event(reason, f"{role.capitalize()}: {after.message}", reason in ELASTIC_WARNINGS)
        for role, (before, after) in pairs.items()
        if before is not None
        and after is not None
        and after.message
        and (reason := _reason(before, after))
    ]


def _reason(before: ElasticRole, after: ElasticRole) -> str:
    """Empty for a change that is no news, such as pods that are missing for a moment."""
    if after.state == GROWING and before.state != GROWING:
        return "Growing"
    if after.asked != before.asked:
        return "PodsGivenUp" if after.asked < before.asked else "PodsAskedFor"
    if after.size != before.size:
        return "RunsSmaller" if after.size < before.size else "RunsLarger"
    return ""


def _size(status: Status, role: str) -> int:
    counts = getattr(status.roles, role) if status.roles else None
    return counts.desired if counts else 0


def _avoided(old: Status, new: Status) -> list[Event]:
    """Nodes that new trainer pods avoid from now on."""
    before, after = avoided(old.recent_failures), avoided(new.recent_failures)
    if not set(after) - set(before):
        return []
    return [Event("NodeAvoided", note(new.recent_failures), True)]


def _attempt(old: Status, new: Status) -> list[Event]:
    if None in (old.trainer_attempt, new.trainer_attempt):
        return []
    if new.trainer_attempt == old.trainer_attempt:
        return []
    begins = f"Attempt {new.trainer_attempt} begins."
    failure = new.last_failure
    if failure is not None and failure != old.last_failure:
        kept = f" The end of its log is kept ({failure.log})." if failure.log else ""
        message = f"{begins} {failure.cause} of {failure.role}: {failure.message}{kept}"
        return [Event("NewAttempt", message, True)]
    return [Event("NewAttempt", f"{begins} {_why_no_failure(old, new)}")]


def _why_no_failure(old: Status, new: Status) -> str:
    """Why an attempt begins that follows from no failure, as far as two statuses tell."""
    if _new_fences(old, new):
        return "Pods of the one before are on dead nodes."
    asked = new.rollback
    if asked is not None and asked.attempt == new.trainer_attempt:
        return f"It goes back to step {asked.step} of stage {asked.stage}."
    before = condition(old, "Suspended")
    if before is not None and before.status != "False":
        return "The job is resumed."
    was, now = _size(old, "trainer"), _size(new, "trainer")
    if was and not now:
        return "The trainer's pods went with their stage; those of the next one join it."
    if was != now:
        return f"The trainer has {now} pods instead of {was}."
    return "The spec or a Secret was changed."


def _fenced(old: Status, new: Status) -> list[Event]:
    count = len(_new_fences(old, new))
    if not count:
        return []
    message = (
        f"{count} pods on dead nodes can't commit any more: attempt {new.trainer_attempt} can."
    )
    return [Event("Fenced", message, True)]


def _new_fences(old: Status, new: Status) -> set[str]:
    return set(new.fenced or ()) - set(old.fenced or ())


def _checkpoint(old: Status, new: Status) -> list[Event]:
    """The first of each stage, and at most one in `CHECKPOINT_SECONDS`."""
    saved, before = new.checkpoint, old.checkpoint
    if saved is None or saved == before:
        return []
    # By the clock, since a status doesn't remember which Events there were.
    if before is not None and (before.stage, _period(before)) == (saved.stage, _period(saved)):
        return []
    where = f"of stage {saved.stage}, " if saved.stage else ""
    size = f"{saved.bytes / 1e9:.1f} GB" if saved.bytes >= 1e8 else f"{saved.bytes / 1e6:.1f} MB"
    return [Event("CheckpointSaved", f"Checkpoint {where}step {saved.step}, {size}.")]


def _wrong_weights(old: Status, new: Status) -> list[Event]:
    found = new.weights.last_wrong if new.weights else None
    if found is None or (old.weights is not None and found == old.weights.last_wrong):
        return []
    message = (
        f"The engine of pod {found.pod} didn't hold weight version {found.version} after its "
        f"update ({', '.join(found.tensors)}) and restarts; nothing was generated with it. If this "
        "repeats on one node, look at its memory and GPU."
    )
    return [Event("WrongWeights", message, True)]


def _period(saved: CheckpointStatus) -> int:
    return int(unix_seconds(saved.time) // CHECKPOINT_SECONDS)


def _evaluated(old: Status, new: Status) -> list[Event]:
    """One for each evaluation stage, with its pass^1."""
    known = {result.stage for result in old.evaluation}
    scores: dict[str, list[str]] = {}
    for result in new.evaluation:
        if result.stage not in known:
            text = f"{result.domain} {result.pass_hat1:.1f} % of {result.tasks} tasks"
            scores.setdefault(result.stage, []).append(text)
    return [
        Event("Evaluated", f"Stage {stage}, pass^1: {', '.join(texts)}.")
        for stage, texts in scores.items()
    ]
