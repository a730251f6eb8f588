"""Cache of jobs and their children, so that a pass needs no request to the API server.

Fed by watches that select by label on the server: memory doesn't grow with other people's pods.
Each object is parsed once per resourceVersion. What the operator writes itself goes in at once
(`wrote`, `deleted`), so the next pass never acts on a state before those writes. Watch events may
arrive late or twice: an entry's version only increases.

The cache may still lag behind the writes of others. A pass on a stale view of children is
harmless: its writes carry uids as preconditions, and the late event triggers the next pass. A stale
view of the job isn't: an old spec would be applied over a newer one. `observe.refresh` guards
against that.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from sea_api.contract import JOB_LABEL
from sea_operator import parsing, pod_parsing
from sea_operator.kube.client import JOB, POD, Kind
from sea_operator.observed import Child, Job, Named, Object
from sea_operator.pods import Pod

Key = tuple[str, str]
"""Namespace and name of a job."""
Ref = tuple[str, str, str]
"""Kind, namespace and name of an object."""
Value = Job | Child | Pod

MAX_REMEMBERED = 4096
"""Objects that are gone and whose late answers are still recognized, which come within seconds."""


@dataclass(slots=True)
class _Entry:
    """One object. `value` None: we deleted it, and its DELETED event hasn't arrived yet."""

    uid: str
    version: int
    value: Value | None
    accepted: tuple[str, bytes] | None = None
    """Digest of what was last applied, and what the API server made of it."""

    def accepted_digest(self) -> str | None:
        """None once somebody changed the object."""
        if self.accepted is None or not isinstance(self.value, Child):
            return None
        digest, body = self.accepted
        return digest if self.value.body == body else None


@dataclass(slots=True)
class _Family:
    """A job, if it is known, and all objects with its label."""

    revision: int = 0
    entries: dict[Named, _Entry] = field(default_factory=dict)
    view: "View | None" = None
    """View of this very revision; most passes find what the one before them found."""


@dataclass(frozen=True)
class View:
    """Everything the cache knows of one job at one moment."""

    job: Job
    children: Mapping[Named, Child]
    pods: tuple[Pod, ...]
    """By name."""
    accepted: Mapping[Named, str]
    """Digests of what was applied, for children that are still as the API server answered."""
    revision: int
    """Another number after each change of any of it."""


class Cache:
    """Not thread-safe: lives in one event loop.

    `changed` is called with the key of a job after each change that a pass should look at; a change
    of a job's status alone isn't one, since the operator makes it itself.
    """

    def __init__(self, changed: Callable[[Key], None]) -> None:
        self._changed = changed
        self._families: dict[Key, _Family] = {}
        self._homes: dict[Ref, Key] = {}
        self._gone: dict[str, int] = {}
        self._revision = 0

    # --- look-ups ---

    def view(self, key: Key) -> View | None:
        """None if there is no such job, or none any more."""
        family = self._families.get(key)
        entry = family.entries.get((JOB.name, key[1])) if family else None
        # Children without a job, or with one that we saw deleted, wait for the garbage collector.
        if family is None or entry is None or not isinstance(entry.value, Job):
            return None
        if family.view is not None:
            return family.view
        named = sorted(family.entries.items())
        family.view = View(
            job=entry.value,
            children={name: one.value for name, one in named if isinstance(one.value, Child)},
            pods=tuple(one.value for _, one in named if isinstance(one.value, Pod)),
            accepted={name: found for name, one in named if (found := one.accepted_digest())},
            revision=family.revision,
        )
        return family.view

    def jobs(self) -> list[Job]:
        """All that there are."""
        found = (family.entries.get((JOB.name, key[1])) for key, family in self._families.items())
        return [one.value for one in found if one is not None and isinstance(one.value, Job)]

    # --- from lists and watches ---

    def put(self, kind: Kind, live: Object) -> None:
        """An object as a list or a watch shows it."""
        key = self._store(kind, live)
        if key is not None:
            self._changed(key)

    def remove(self, kind: Kind, live: Object) -> None:
        """A watch event: the object is gone or lost its label; `live` is its last state."""
        meta = live["metadata"]
        ref = (kind.name, meta["namespace"], meta["name"])
        self._remember(meta["uid"], int(meta["resourceVersion"]))
        # A successor of the same name may be cached already, through our own write.
        if self._uid(ref) == meta["uid"]:
            self._drop(ref)

    def prune(
        self, kind: Kind, namespace: str | None, seen: set[tuple[str, str]], version: str
    ) -> None:
        """After a complete list: objects that it lacks are gone, unless they are newer."""
        for ref in [ref for ref in self._homes if ref[0] == kind.name]:
            entry = self._entry(ref)
            # A list says nothing about other namespaces. `<=`: an object with a larger version was
            # written after the list. Marks of `deleted` whose DELETED event was lost go too.
            within = namespace in (None, ref[1])
            if within and ref[1:] not in seen and entry and entry.version <= int(version):
                self._remember(entry.uid, int(version))
                self._drop(ref)

    # --- answers to our own writes ---

    def wrote(self, kind: Kind, live: Object) -> None:
        """The object as the API server answered our write; triggers no pass."""
        self._store(kind, live)

    def applied(self, kind: Kind, live: Object, wanted: str) -> None:
        """As `wrote`; `wanted` is the digest of what was applied.

        A mutating admission policy may have changed it; applying again would change nothing.
        """
        self.wrote(kind, live)
        meta = live["metadata"]
        entry = self._entry((kind.name, meta["namespace"], meta["name"]))
        # Not if a watch event was faster: its object may have been changed again.
        if (
            entry
            and entry.version == int(meta["resourceVersion"])
            and isinstance(entry.value, Child)
        ):
            entry.accepted = (wanted, entry.value.body)
            self._families[self._homes[kind.name, meta["namespace"], meta["name"]]].view = None

    def deleted(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        """The object is gone, as the API server answered our deletion.

        Late watch events must not bring it back: a mark stays until the DELETED event arrives.
        """
        ref = (kind.name, namespace, name)
        entry = self._entry(ref)
        if entry is not None and entry.uid == uid and entry.value is not None:
            # Not dropped: a MODIFIED event that was sent before the deletion may still arrive, and
            # would bring the object back. No `_changed`: the pass that deleted it knows.
            entry.value = None
            self._touch(self._homes[ref])

    # --- inside ---

    def _store(self, kind: Kind, live: Object) -> Key | None:
        """Stores the object if it is newer; returns the job that needs a pass because of it."""
        meta = live["metadata"]
        name = meta["name"] if kind is JOB else meta.get("labels", {}).get(JOB_LABEL)
        if name is None:
            return None
        key, ref = (meta["namespace"], name), (kind.name, meta["namespace"], meta["name"])
        uid, version = meta["uid"], int(meta["resourceVersion"])
        # The answer to a write may come after the event of the object's end: it must not bring the
        # object back, since no other event would ever take it away.
        if version <= self._gone.get(uid, -1):
            return None
        old = self._entry(ref)
        # Resource versions of one kind may be compared as numbers (KEP-5504). An entry without a
        # value is of an object that is gone: only another uid may follow it.
        if old is not None and (old.version >= version or (old.uid == uid and old.value is None)):
            return None
        # `>=` above also drops the echo of our own write, which has the
        # version that `wrote` stored.
        before = old.value if old is not None and old.uid == uid else None
        value = _parse(kind, live, before)
        if moved := self._homes.get(ref, key) != key:
            self._drop(ref)  # its label names another job now, to which all of it is new
            before = None
        family = self._families.setdefault(key, _Family())
        accepted = old.accepted if old is not None and old.uid == uid else None
        family.entries[kind.name, meta["name"]] = _Entry(uid, version, value, accepted)
        self._homes[ref] = key
        # Only the version moved (a managed field, a child's status): no pass,
        # and `Settled` stays valid.
        if value == before:
            return None
        self._touch(key)
        return key if moved or _is_news(before, value) else None

    def _drop(self, ref: Ref) -> None:
        key = self._homes.pop(ref)
        family = self._families[key]
        del family.entries[ref[0], ref[2]]
        if not family.entries:
            del self._families[key]
        else:
            self._touch(key)
        # Unlike `_store`, which returns the key: the job that lost an object always needs a pass.
        self._changed(key)

    def _remember(self, uid: str, version: int) -> None:
        """Only a later version than this may show the object again, with its label back."""
        self._gone[uid] = version
        if len(self._gone) > MAX_REMEMBERED:
            # A dict keeps the order of insertion: the first key is the oldest.
            del self._gone[next(iter(self._gone))]

    def _touch(self, key: Key) -> None:
        """One counter for all: a job that is deleted and made again never has an old revision."""
        self._revision += 1
        family = self._families[key]
        family.revision, family.view = self._revision, None

    def _entry(self, ref: Ref) -> _Entry | None:
        key = self._homes.get(ref)
        return None if key is None else self._families[key].entries.get((ref[0], ref[2]))

    def _uid(self, ref: Ref) -> str | None:
        entry = self._entry(ref)
        return entry.uid if entry else None


def _parse(kind: Kind, live: Object, before: Value | None) -> Value:
    if kind is JOB:
        return parsing.job(live, before if isinstance(before, Job) else None)
    return pod_parsing.pod(live) if kind is POD else parsing.child(live)


def _is_news(before: Value | None, now: Value) -> bool:
    """True if a pass must react: a job's status changes only through our own writes.

    Or through those of another operator, which `claims.py` must hear of at once. That a pod exists,
    or has got a node, matters only once it runs, or once somebody says why it doesn't.
    """
    if isinstance(now, Pod):
        if before is None:
            return now.began or now.deleted is not None or bool(now.waiting)
        return not isinstance(before, Pod) or replace(before, node=now.node) != now
    if not (isinstance(before, Job) and isinstance(now, Job)):
        return True
    # An apply of nothing but an unknown field changes the annotation and no generation.
    return _signals(before) != _signals(now)


def _signals(job: Job) -> tuple[object, ...]:
    return (job.generation, job.deleting, job.status.operator, job.dropped)
