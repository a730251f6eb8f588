"""The trainer's size within its elastic range: a pure state machine with timers in the status.

    Full <----------------------------- Growing      size == the largest one of the range
     |  pods missing                       ^  the attempt has ended with a checkpoint
     v                                     |
    Short --for giveUpSeconds--> Reduced --> Returning   more pods run: watched for stableSeconds
     '--they come back--> Full or Reduced

Lost pods first get their time to come back: the attempt restarts in place. Then training goes on at
the next smaller size that the layout admits. The pods that are missing stay asked for, since that
they run is the only proof that there is room; after giveUpSeconds they are given up, and asked for
again after retrySeconds. The watch before growing doubles with each shrink within an hour, so that
a node that comes and goes costs fewer and fewer restarts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sea_api.v1alpha1.elastic import TrainerElastic
from sea_api.v1alpha1.elastic_status import ElasticRole
from sea_operator.elasticity import (
    GROWING,
    IDLE,
    REDUCED,
    RETURNING,
    SHORT,
    Seen,
    at,
    changed,
    counted,
    forgetting,
    largest,
    saying,
    set_by_spec,
    shrunk,
    since,
)

KIND = "trainer "
MAX_DOUBLINGS = 4
"""How often the watch before growing doubles at most."""
OLDER_COORDINATOR = (
    "The coordinator is of a release that knows no sizes, so the trainer keeps {} until the "
    "coordinator's pod is replaced: set spec.suspend to true and back."
)


@dataclass(frozen=True)
class TrainerSeen(Seen):
    """What only the trainer's looks at."""

    attempt_over: bool = False
    """The attempt ended with its checkpoint for another size, or failed."""
    may_shrink: bool = True
    """False where a rule of the failure policy has the trainer wait for its pods."""
    sized: bool = True
    """False if the coordinator gives ranks to `replicas` pods, whatever size it is told."""


def step(
    memory: ElasticRole | None,
    elastic: TrainerElastic,
    sizes: Sequence[int],
    replicas: int,
    seen: TrainerSeen,
    now: float,
) -> ElasticRole:
    """The next state.

    Args:
        sizes: what the layout admits within the range, ascending (`elastic.trainer_sizes`).
        replicas: of the spec.
        now: unix seconds.
    """
    begun = set_by_spec(memory, sizes, replicas, now)
    if not seen.sized:
        return _kept(begun or memory, replicas, now)
    if begun is not None:
        return begun
    assert memory is not None
    memory = forgetting(memory, now)
    if not seen.active:
        return saying(changed(memory, now, state=IDLE, growing_to=None), "")
    if memory.state == IDLE:
        return at(memory, memory.size, sizes[-1], replicas, now)
    if memory.state == GROWING:
        return _growing(memory, sizes, seen, now)
    if len(seen.placed) < memory.size:
        return _short(memory, elastic, sizes, seen, now)
    if memory.state == SHORT:
        return at(memory, memory.size, sizes[-1], replicas, now, "All trainer pods run again.")
    if memory.size == sizes[-1]:
        return memory
    return _reduced(memory, elastic, sizes, seen, now)


def _kept(memory: ElasticRole | None, replicas: int, now: float) -> ElasticRole:
    """At the size of the spec: neither growing nor shrinking would ever come to its end."""
    assert memory is not None
    message = OLDER_COORDINATOR.format(counted(replicas, KIND))
    kept = changed(memory, now, state=IDLE, size=replicas, asked=replicas, growing_to=None)
    return saying(kept, message)


def _short(
    memory: ElasticRole,
    elastic: TrainerElastic,
    sizes: Sequence[int],
    seen: TrainerSeen,
    now: float,
) -> ElasticRole:
    running = len(seen.placed)
    if memory.state != SHORT:
        message = (
            f"{running} of {counted(memory.size, KIND)} run{seen.why}; after "
            f"{elastic.give_up_seconds} s training goes on without the others."
        )
        return changed(memory, now, state=SHORT, growing_to=None, message=message)
    if now - since(memory) < elastic.give_up_seconds:
        return memory
    fits = largest(sizes, running)
    if fits is None:
        message = (
            f"{running} of {counted(memory.size, KIND)} run{seen.why}, and the smallest size that "
            f"the layout and the elastic range admit is {sizes[0]}: training waits."
        )
        return saying(memory, message)
    if not seen.may_shrink:
        message = (
            f"{running} of {counted(memory.size, KIND)} run{seen.why}. The failure policy has a "
            "rule for this cause with another action than Resize: training waits for the others."
        )
        return saying(memory, message)
    message = (
        f"Training goes on with {counted(fits, KIND)} instead of {memory.size}: others were "
        f"missing for {elastic.give_up_seconds} s{seen.why}."
    )
    times = shrunk(memory, now)
    return changed(memory, now, state=REDUCED, size=fits, shrunk=times, message=message)


def _reduced(
    memory: ElasticRole,
    elastic: TrainerElastic,
    sizes: Sequence[int],
    seen: TrainerSeen,
    now: float,
) -> ElasticRole:
    fits = largest(sizes, len(seen.running)) or memory.size
    if fits > memory.size:
        return _returning(memory, elastic, fits, now)
    if memory.state == RETURNING:
        message = "The trainer pods that had come back are gone again."
        return changed(memory, now, state=REDUCED, growing_to=None, message=message)
    waited = now - since(memory)
    held = max(memory.size, seen.needed)
    if held < memory.asked and waited >= elastic.give_up_seconds:
        message = (
            f"The trainer asks for {counted(held)} instead of {memory.asked}{seen.why}; the others "
            f"are asked for again after {elastic.retry_seconds} s. Training goes on with "
            f"{memory.size}."
        )
        return changed(memory, now, asked=held, message=message)
    if memory.asked < sizes[-1] and waited >= elastic.retry_seconds:
        message = (
            f"{counted(sizes[-1] - memory.asked, KIND)} more asked for, to see if there is room."
        )
        return changed(memory, now, asked=sizes[-1], message=message)
    return memory


def _returning(memory: ElasticRole, elastic: TrainerElastic, fits: int, now: float) -> ElasticRole:
    doublings = min(MAX_DOUBLINGS, max(0, len(memory.shrunk) - 1))
    wait = elastic.stable_seconds << doublings
    if memory.state != RETURNING or memory.growing_to != fits:
        message = f"{counted(fits, KIND)} run; training takes them in once they have for {wait} s."
        memory = changed(memory, now, state=RETURNING, growing_to=fits, message=message)
    if now - since(memory) < wait:
        return memory
    message = f"The attempt ends with a checkpoint; the next one has {counted(fits, KIND)}."
    return changed(memory, now, state=GROWING, message=message)


def _growing(
    memory: ElasticRole, sizes: Sequence[int], seen: TrainerSeen, now: float
) -> ElasticRole:
    # Never taken back before the attempt has ended: its processes may have stopped already, and
    # don't run the same attempt a second time.
    if not seen.attempt_over:
        return memory
    size = memory.growing_to or memory.size
    words = f"Training goes on with {counted(size, KIND)} instead of {memory.size}."
    return at(memory, size, sizes[-1], memory.began_with, now, words)
