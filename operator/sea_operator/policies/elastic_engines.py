"""The size of rollout or user engines within their elastic range. Pure, timers in the status.

Engines need no common size: each works as soon as it has its weights. Pods that are missing for
giveUpSeconds are given up, and asked for again after retrySeconds. While they are, the role's size
stays what it works with: asking whether there is room must not make a job that runs well look as if
it lacked pods. The size follows those that become ready: one that only runs may still crash while
it loads its weights, and would take size and `Ready` back and forth.
"""

from dataclasses import dataclass
from itertools import count

from sea_api.v1alpha1.elastic import Elastic
from sea_api.v1alpha1.elastic_status import ElasticRole
from sea_operator.elasticity import (
    FULL,
    IDLE,
    REDUCED,
    SHORT,
    Seen,
    changed,
    counted,
    forgetting,
    saying,
    set_by_spec,
    shrunk,
    since,
)


@dataclass(frozen=True)
class EnginesSeen(Seen):
    """What only the engines' looks at."""

    ready: frozenset[int] = frozenset()
    """Ordinals of pods that serve."""


def step(
    memory: ElasticRole | None, elastic: Elastic, replicas: int, seen: EnginesSeen, now: float
) -> ElasticRole:
    """The next state; `replicas` of the spec, `now` in unix seconds."""
    low, high = elastic.min_replicas, elastic.max_replicas
    if begun := set_by_spec(memory, range(low, high + 1), replicas, now):
        # Not yet the whole range: more are tried after retrySeconds.
        return begun.model_copy(update={"asked": begun.size})
    assert memory is not None
    memory = forgetting(memory, now)
    if not seen.active:
        return changed(memory, now, state=IDLE, message="")
    missing = sum(ordinal not in seen.placed for ordinal in range(memory.size))
    if missing:
        return _short(memory, elastic, missing, seen, now)
    size = max(memory.size, next(one for one in count() if one not in seen.ready))
    if size >= high:
        return changed(memory, now, state=FULL, size=high, asked=high, message=_run(high))
    if memory.state != REDUCED or size > memory.size:
        asked = max(memory.asked, size)
        return changed(memory, now, state=REDUCED, size=size, asked=asked, message=_run(size))
    return _tried(memory, elastic, seen, now)


def _run(size: int) -> str:
    return f"{counted(size)} {'runs' if size == 1 else 'run'}."


def _tried(memory: ElasticRole, elastic: Elastic, seen: EnginesSeen, now: float) -> ElasticRole:
    """Asks for the others from time to time, and gives them up if they don't come."""
    waited = now - since(memory)
    held = max(memory.size, seen.needed)
    if held < memory.asked and waited >= elastic.give_up_seconds:
        message = (
            f"{_run(memory.size)} There is no room for more{seen.why}; they are asked for again "
            f"after {elastic.retry_seconds} s."
        )
        return changed(memory, now, asked=held, message=message)
    if memory.asked < elastic.max_replicas and waited >= elastic.retry_seconds:
        more = elastic.max_replicas - memory.asked
        message = f"{_run(memory.size)} {counted(more)} more asked for, to see if there is room."
        return changed(memory, now, asked=elastic.max_replicas, message=message)
    return memory


def _short(
    memory: ElasticRole, elastic: Elastic, missing: int, seen: EnginesSeen, now: float
) -> ElasticRole:
    if memory.state != SHORT:
        message = (
            f"{missing} of {counted(memory.size)} missing{seen.why}; after "
            f"{elastic.give_up_seconds} s those above the last one that runs are given up."
        )
        return changed(memory, now, state=SHORT, message=message)
    if now - since(memory) < elastic.give_up_seconds:
        return memory
    kept = max(elastic.min_replicas, seen.needed)
    if kept >= memory.size:
        message = (
            f"{missing} of {counted(memory.size)} missing{seen.why} and still asked for: the role "
            f"has at least {elastic.min_replicas}, and pods above them run."
        )
        return saying(memory, message)
    message = (
        f"{counted(kept)} asked for instead of {memory.size}{seen.why}; the others are asked for "
        f"again after {elastic.retry_seconds} s."
    )
    times = shrunk(memory, now)
    return changed(memory, now, state=REDUCED, size=kept, asked=kept, shrunk=times, message=message)
