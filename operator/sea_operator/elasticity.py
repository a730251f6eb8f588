"""Elastic roles: what their state machines remember in `status.elastic`, and what follows. Pure.

The memory is the status, so that another operator goes on where this one stopped. Its timer counts
from `since`, which moves with every other state or number of pods, and with nothing else: a status
that changed at every pass would be written at every pass.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sea_api.v1alpha1.elastic_status import ElasticRole, ElasticStatus
from sea_api.v1alpha1.policy import Role
from sea_operator.timestamps import not_after, stamp, unix_seconds

FULL, SHORT, REDUCED = "Full", "Short", "Reduced"
RETURNING, GROWING, IDLE = "Returning", "Growing", "Idle"

MEMORY_SECONDS = 3600
"""How long a shrink is remembered."""
MAX_SHRUNK = 16
"""Shrinks that the status holds."""


@dataclass(frozen=True)
class Seen:
    """What both state machines look at."""

    running: frozenset[int]
    """Ordinals of pods that run: started, on a living node, not about to go."""
    coming: frozenset[int] = frozenset()
    """Of pods that have a place on a node and will run, once their image is there for example; of
    the trainer also those that leave, as long as their grace period lasts."""
    active: bool = True
    """Whether the stage needs the role and the job isn't suspended."""
    why: str = ""
    """Why pods are missing, in words."""

    @property
    def placed(self) -> frozenset[int]:
        """Those that run or will."""
        return self.running | self.coming

    @property
    def needed(self) -> int:
        """Pods that the StatefulSet must ask for to keep every placed one: it could only give up
        its last ones, so one that is missing below them stays asked for."""
        return 1 + max(self.placed, default=-1)


def since(memory: ElasticRole) -> float:
    """Unix seconds from which the timer counts."""
    return unix_seconds(memory.since)


def grown(memory: ElasticRole) -> float:
    """Unix seconds since which the role counts all of its pods."""
    # Absent from a status of an earlier release.
    return unix_seconds(memory.grown or memory.since)


def changed(memory: ElasticRole, now: float, **changes: object) -> ElasticRole:
    """The memory with changes; its timer starts again. The same object if nothing changes."""
    known = {name: getattr(memory, name) for name in changes}
    if {**known, "message": ""} == {**changes, "message": ""}:
        return memory
    size = changes.get("size")
    grown = {"grown": stamp(now)} if isinstance(size, int) and size > memory.size else {}
    return memory.model_copy(update={**changes, **grown, "since": stamp(now)})


def saying(memory: ElasticRole, message: str) -> ElasticRole:
    """The memory with another message, which moves no timer."""
    return memory if memory.message == message else memory.model_copy(update={"message": message})


def counted(pods: int, kind: str = "") -> str:
    """As in `1 trainer pod`, `2 trainer pods`."""
    return f"{pods} {kind}pod{'' if pods == 1 else 's'}"


def forgetting(memory: ElasticRole, now: float) -> ElasticRole:
    """Without shrinks of more than an hour ago, and without times that are still to come."""
    kept = [min(time, int(now)) for time in memory.shrunk if now - time < MEMORY_SECONDS]
    began, grew = not_after(memory.since, now), memory.grown and not_after(memory.grown, now)
    if (kept, began, grew) == (memory.shrunk, memory.since, memory.grown):
        return memory
    return memory.model_copy(update={"shrunk": kept, "since": began, "grown": grew})


def shrunk(memory: ElasticRole, now: float) -> list[int]:
    """Times of the remembered shrinks, with one of now."""
    return [*memory.shrunk, int(now)][-MAX_SHRUNK:]


def at(
    memory: ElasticRole | None,
    size: int,
    largest: int,
    replicas: int,
    now: float,
    message: str = "",
) -> ElasticRole:
    """A role that works with `size` pods, with all others of its range asked for."""
    return ElasticRole(
        state=FULL if size >= largest else REDUCED,
        size=size,
        asked=max(size, largest),
        began_with=replicas,
        since=stamp(now),
        grown=stamp(now) if memory is None or size > memory.size else memory.grown,
        shrunk=memory.shrunk if memory else [],
        message=message,
    )


def set_by_spec(
    memory: ElasticRole | None, sizes: Sequence[int], replicas: int, now: float
) -> ElasticRole | None:
    """The state of a role that begins, or whose `replicas` or range was edited; None for any other.

    Args:
        sizes: what the role may have, ascending.
    """
    if memory is None or memory.began_with != replicas:
        return at(None, replicas, sizes[-1], replicas, now)
    # A range that became wider: a role that had all of it has no timer that would try the rest.
    was_full = memory.state == FULL and memory.size < sizes[-1]
    if memory.size in sizes and memory.asked <= sizes[-1] and not was_full:
        return None
    size = largest(sizes, memory.size) or sizes[0]
    return at(memory, size, sizes[-1], replicas, now, "The elastic range was edited.")


def largest(sizes: Sequence[int], pods: int) -> int | None:
    """The largest size of at most `pods` pods; None if all are larger."""
    return max((size for size in sizes if size <= pods), default=None)


def sent_size(memory: ElasticRole) -> int:
    """The size that the coordinator is told: another one than the running attempt's ends that."""
    target = memory.growing_to if memory.state == GROWING else None
    return target or memory.size


@dataclass(frozen=True)
class Elasticity:
    """The states of all roles that have a range; empty for a job without any."""

    roles: Mapping[Role, ElasticRole]

    @property
    def status(self) -> ElasticStatus | None:
        if not self.roles:
            return None
        return ElasticStatus(**{role.value.lower(): one for role, one in self.roles.items()})

    def with_trainer_of(self, other: "Elasticity") -> "Elasticity":
        """The same with the trainer's state of `other`, which may have none."""
        roles = dict(self.roles)
        roles.pop(Role.TRAINER, None)
        if trainer := other.roles.get(Role.TRAINER):
            roles[Role.TRAINER] = trainer
        return Elasticity(roles)

    def asked(self, full: Mapping[Role, int]) -> dict[Role, int]:
        """Pods of each StatefulSet, where a stage needs `full`."""
        return {
            role: self.roles[role].asked if size and role in self.roles else size
            for role, size in full.items()
        }

    def working(self, sets: Mapping[Role, int]) -> dict[Role, int]:
        """Pods that each role works with, where its StatefulSet has `sets`."""
        return {
            role: min(self.roles[role].size, size) if role in self.roles else size
            for role, size in sets.items()
        }

    @property
    def trainer_size(self) -> int | None:
        """What the coordinator is told; None if the trainer has no range."""
        found = self.roles.get(Role.TRAINER)
        return sent_size(found) if found else None

    @property
    def trainer_pods(self) -> int | None:
        found = self.roles.get(Role.TRAINER)
        return found.asked if found else None

    @property
    def timed(self) -> bool:
        """Whether a timer runs: the job changes although nothing happens to it."""
        return any(one.state not in (FULL, IDLE) for one in self.roles.values())

    @property
    def note(self) -> str:
        """What a person should know of roles that aren't at their full size; empty if all are."""
        return " ".join(
            f"{role.value}: {one.message}"
            for role, one in self.roles.items()
            if one.state != FULL and one.message
        )


NO_RANGES = Elasticity({})
"""The elasticity of a job whose roles have one size."""
