"""The size of rollout or user engines within their elastic range. Pure, timers in the status.

Engines need no common size: each works as soon as it has its weights. Pods that are missing for
giveUpSeconds are given up, and asked for again after retrySeconds. A StatefulSet gives up its last
pods first: a pod that is missing below one that works stays asked for, because giving it up would
end the one that works.
"""

from dataclasses import dataclass

from sea_api.v1alpha1.elastic import Elastic
from sea_api.v1alpha1.status import ElasticRole
from sea_operator.elasticity import (
    FULL,
    IDLE,
    REDUCED,
    SHORT,
    at,
    changed,
    counted,
    forgetting,
    shrunk,
    since,
)


@dataclass(frozen=True)
class Seen:
    """What the state machine looks at."""

    running: frozenset[int]
    """Ordinals of pods that run: started, on a living node, not about to go."""
    coming: frozenset[int] = frozenset()
    """Of pods that have a place on a node and will run, once their image is there for example."""
    active: bool = True
    """Whether the stage needs the role and the job isn't suspended."""
    why: str = ""
    """Why pods are missing, in words."""


def step(
    memory: ElasticRole | None, elastic: Elastic, replicas: int, seen: Seen, now: float
) -> ElasticRole:
    """The next state; `replicas` of the spec, `now` in unix seconds."""
    low, high = elastic.min_replicas, elastic.max_replicas
    if memory is None or memory.began_with != replicas:
        # At the size that was asked for; more are tried after retrySeconds.
        begun = at(None, replicas, high, replicas, now)
        return begun.model_copy(update={"asked": replicas})
    memory = forgetting(memory, now)
    size = min(max(memory.size, low), high)
    if size != memory.size:
        return changed(memory, now, size=size, asked=size, message="The elastic range was edited.")
    if not seen.active:
        return changed(memory, now, state=IDLE, message="")
    missing = sum(ordinal not in seen.running | seen.coming for ordinal in range(size))
    if missing:
        return _short(memory, elastic, missing, seen, now)
    if size == high:
        return changed(memory, now, state=FULL, message=f"{counted(size)} run.")
    if memory.state != REDUCED:
        return changed(memory, now, state=REDUCED, message=f"{counted(size)} run.")
    if now - since(memory) < elastic.retry_seconds:
        return memory
    message = f"{counted(high - size)} more asked for, to see if there is room."
    return changed(memory, now, state=SHORT, size=high, asked=high, message=message)


def _short(
    memory: ElasticRole, elastic: Elastic, missing: int, seen: Seen, now: float
) -> ElasticRole:
    if memory.state != SHORT:
        message = (
            f"{missing} of {counted(memory.size)} missing{seen.why}; after "
            f"{elastic.give_up_seconds} s those above the last one that runs are given up."
        )
        return changed(memory, now, state=SHORT, message=message)
    if now - since(memory) < elastic.give_up_seconds:
        return memory
    kept = max(elastic.min_replicas, 1 + max(seen.running | seen.coming, default=-1))
    if kept >= memory.size:
        message = (
            f"{missing} of {counted(memory.size)} missing{seen.why} and still asked for: the role "
            f"has at least {elastic.min_replicas}, and pods above them run."
        )
        return memory.model_copy(update={"message": message})
    message = (
        f"{counted(kept)} asked for instead of {memory.size}{seen.why}; the others are asked for "
        f"again after {elastic.retry_seconds} s."
    )
    times = shrunk(memory, now)
    return changed(memory, now, state=REDUCED, size=kept, asked=kept, shrunk=times, message=message)
