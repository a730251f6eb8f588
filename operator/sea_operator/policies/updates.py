"""Whether a job's StatefulSets take the pod templates of this revision of the operator.

Another revision of the code, or other default images, make other pods from the same spec. A running
job keeps what it began with: replacing its pods would cost work that nobody asked for. It takes the
new templates, all roles together, when its pods are replaced anyway: with a new attempt of the
trainer, a resume, or an edit that changes a pod. Until then the status says that an update waits.

Each StatefulSet carries a record: the revision that last decided about its template, and the hash
of the template that this revision makes for it. The hash of the template that it has is a label of
the template itself. A rollback of the operator is just another revision.

A role whose pods can't be replaced now keeps its template in any case. Its record says whether an
edit waits, so that this takes effect once they can, or only an update. An update of the other roles
waits for it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sea_api.contract import (
    HASH_LABEL,
    MADE_BY_ANNOTATION,
    SECRETS_ANNOTATION,
    TOKEN_ANNOTATION,
)
from sea_api.v1alpha1.policy import Role
from sea_operator.observed import Object, Observed, role_of

FROZEN = ("selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates")
"""Fields of a StatefulSet that the API server lets nobody change."""


EDITED = "edited"
"""In a record, in place of a hash: what this revision makes was asked for by an edit."""


@dataclass(frozen=True)
class Waiting:
    """A role whose pods keep an older template."""

    role: Role
    images: tuple[tuple[str, str], ...] = ()
    """Images that would change: now, and after the update."""


@dataclass(frozen=True)
class Updated:
    """The children to apply, and the roles that wait for an update."""

    children: list[Object]
    waiting: tuple[Waiting, ...] = ()


@dataclass(frozen=True)
class _Pair:
    """A desired StatefulSet and the live one."""

    wanted: Object
    live: Object | None
    revision: str
    frozen: bool = False
    """The live template stays."""

    @property
    def differs(self) -> bool:
        """True if the live one has another pod template."""
        return self.live is not None and _hash(self.live) != _hash(self.wanted)

    @property
    def made_by_us(self) -> bool:
        """True if this revision wrote the template that the live one has."""
        return self.live is not None and record(self.live) == f"{self.revision}.{_hash(self.live)}"

    def edited(self, observed: Observed) -> bool:
        """True if another template is wanted because the job's inputs changed, not the revision."""
        if self.live is None or not self.differs:
            return False
        revision, _, template = record(self.live).partition(".")
        if revision == self.revision:
            # The same code made both hashes, so only its inputs can differ.
            return template != _hash(self.wanted)
        # What another revision makes can't be compared. But where the status has caught up with
        # the spec, an earlier pass has applied every edit already.
        handled = observed.job.status.observed_generation == observed.job.generation
        return not handled or _token_differs(self.live, self.wanted)


def update(
    observed: Observed,
    wanted: Iterable[Object],
    revision: str,
    *,
    renews: bool,
    frozen: frozenset[Role] = frozenset(),
) -> Updated:
    """The children with the templates that the job takes now.

    Args:
        observed: The pass's observation.
        wanted: All children as this revision makes them.
        revision: Identifies the code and the settings that made them.
        renews: The pods are replaced or made now: a new attempt, a resume.
        frozen: Roles that keep the template that they have, if they have one.
    """
    children = list(wanted)
    pairs = {
        child["metadata"]["name"]: _pair(observed, child, revision, frozen)
        for child in children
        if child["kind"] == "StatefulSet"
    }
    keeps = _keeps(observed, list(pairs.values()), renews=renews)
    waiting = tuple(
        _waiting(pair)
        for pair in pairs.values()
        if pair.differs and (not pair.edited(observed) if pair.frozen else keeps)
    )
    return Updated(
        [
            _settled(observed, pairs[child["metadata"]["name"]], keeps=keeps)
            if child["kind"] == "StatefulSet"
            else child
            for child in children
        ],
        waiting,
    )


def _pair(observed: Observed, child: Object, revision: str, frozen: frozenset[Role]) -> _Pair:
    role = role_of(child["metadata"]["labels"])
    assert role is not None
    return _Pair(child, observed.stateful_set(role), revision, role in frozen)


def _keeps(observed: Observed, pairs: list[_Pair], *, renews: bool) -> bool:
    """True if the live templates stay, whichever are wanted."""
    differing = [pair for pair in pairs if pair.differs and not pair.frozen]
    if not differing:
        return False
    # An update that began goes on: a crash or a refused child must not leave a job whose roles are
    # of two builds, which might not understand each other.
    begun = any(pair.made_by_us for pair in pairs if not pair.differs)
    if begun or any(pair.edited(observed) for pair in differing):
        return False
    # For the same reason none begins while a role that has pods can't take it.
    return not renews or any(pair.frozen and pair.differs and not _is_idle(pair) for pair in pairs)


def _settled(observed: Observed, pair: _Pair, *, keeps: bool) -> Object:
    """The StatefulSet to apply, with its record."""
    mine = f"{pair.revision}.{_hash(pair.wanted)}"
    if pair.live is None:
        return _recorded(pair.wanted, mine)
    if not pair.differs:
        # No write only for the record: it stays as it is until the template changes.
        return _frozen(_recorded(pair.wanted, record(pair.live)), pair.live)
    if pair.frozen:
        return _recorded(kept(pair.wanted, pair.live), _frozen_record(observed, pair, mine))
    if keeps:
        # A set without pods needs no record: whatever starts it brings the new template.
        noted = record(pair.live) if _is_idle(pair) else mine
        return _recorded(kept(pair.wanted, pair.live), noted)
    return _frozen(_recorded(pair.wanted, mine), pair.live)


def _frozen_record(observed: Observed, pair: _Pair, mine: str) -> str:
    assert pair.live is not None
    before = record(pair.live)
    if before.partition(".")[0] == pair.revision:
        return before  # with another hash than the wanted one's once an edit waits
    return f"{pair.revision}.{EDITED}" if pair.edited(observed) else mine


def _is_idle(pair: _Pair) -> bool:
    sizes = (pair.wanted["spec"]["replicas"], (pair.live or {})["spec"].get("replicas", 1))
    return not any(sizes)


def kept(wanted: Object, live: Object) -> Object:
    """The live spec with the wanted size and the digest of today's Secrets, which pods read."""
    # Its nulls are the server's way of writing an absent value, and mean "remove" in an apply.
    spec = _without_nulls(live["spec"])
    template, notes = spec["template"], _annotations(live)
    # Not added where it is missing: that would be a new template for nothing.
    if SECRETS_ANNOTATION in notes:
        current = {**notes, **_annotations(wanted)}[SECRETS_ANNOTATION]
        meta = {**template["metadata"], "annotations": {**notes, SECRETS_ANNOTATION: current}}
        template = {**template, "metadata": meta}
    size = wanted["spec"]["replicas"]
    return {**wanted, "spec": {**spec, "replicas": size, "template": template}}


def _frozen(wanted: Object, live: Object) -> Object:
    """The child with live values of immutable fields: an update of them would fail forever.

    The job's own fields behind them are immutable, so only another revision can want others.
    """
    spec = {key: value for key, value in wanted["spec"].items() if key not in FROZEN}
    same = {key: _without_nulls(live["spec"][key]) for key in FROZEN if key in live["spec"]}
    return {**wanted, "spec": {**spec, **same}}


def _recorded(child: Object, noted: str) -> Object:
    if not noted:
        return child
    meta = child["metadata"]
    annotations = {**meta.get("annotations", {}), MADE_BY_ANNOTATION: noted}
    return {**child, "metadata": {**meta, "annotations": annotations}}


def record(live: Object) -> str:
    """`REVISION.HASH` as the revision wrote it that last decided about a StatefulSet; or empty."""
    return str(live["metadata"].get("annotations", {}).get(MADE_BY_ANNOTATION, ""))


def _hash(child: Object) -> str:
    labels = child["spec"]["template"]["metadata"].get("labels", {})
    return str(labels.get(HASH_LABEL, ""))


def _token_differs(live: Object, wanted: Object) -> bool:
    """True if the job has another token, without which pods of the old template can't go on."""
    old, new = (_annotations(child).get(TOKEN_ANNOTATION) for child in (live, wanted))
    return old is not None and new is not None and old != new


def _annotations(child: Object) -> dict[str, str]:
    found: dict[str, str] = child["spec"]["template"]["metadata"].get("annotations", {})
    return found


def _waiting(pair: _Pair) -> Waiting:
    role = role_of(pair.wanted["metadata"]["labels"])
    assert role is not None
    assert pair.live is not None
    old, new = _images(pair.live), _images(pair.wanted)
    changed = {(old[name], new[name]) for name in old if name in new and old[name] != new[name]}
    return Waiting(role, tuple(sorted(changed)))


def _images(child: Object) -> dict[str, str]:
    containers = child["spec"]["template"]["spec"]["containers"]
    return {container["name"]: str(container.get("image", "")) for container in containers}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value


def sentence_about(waiting: Iterable[Waiting]) -> str:
    """What a person reads about roles that wait for an update; empty if none does."""
    told = [_told(one) for one in waiting]
    if not told:
        return ""
    return (
        f"Pods of {', '.join(told)} keep what an earlier revision of the operator made. They are "
        "replaced with the trainer's next attempt, when the job is resumed, or with an edit that "
        "changes a pod; set spec.suspend to true and back to update now."
    )


def _told(one: Waiting) -> str:
    images = "; ".join(f"{old} becomes {new}" for old, new in one.images)
    return f"{one.role.value.lower()} ({images})" if images else one.role.value.lower()
