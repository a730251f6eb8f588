"""Elastic roles: the range that a role's size may move in, and the sizes that a layout admits.

The operator moves sizes by `policies/elastic_trainer.py` and `policies/elastic_engines.py`.
"""

from math import gcd, lcm
from typing import Any, ClassVar

from pydantic import Field

from sea_api.v1alpha1 import role_rules
from sea_api.v1alpha1.base import ApiModel
from sea_api.v1alpha1.edits import NEXT_STEP, Edits
from sea_api.v1alpha1.rules import Rule
from sea_api.v1alpha1.types import Int, Replicas


class Elastic(ApiModel):
    """The range within which the operator sizes a role by what the cluster can give."""

    edits: ClassVar[Edits] = NEXT_STEP

    invariants: ClassVar[tuple[Rule, ...]] = (role_rules.ELASTIC_ORDER,)

    min_replicas: Replicas
    """Smallest number of pods that the role goes on with; with fewer it waits."""
    max_replicas: Replicas
    """Number of pods that the operator tries to reach; `replicas` is the number that the role
    begins with, and returns to when it is edited."""
    give_up_seconds: Int = Field(default=120, ge=1, le=86400)
    """Seconds for which pods may be missing before the role goes on without them."""
    retry_seconds: Int = Field(default=600, ge=1, le=604800)
    """Seconds until pods that were given up are asked for again."""


class TrainerElastic(Elastic):
    """The range within which the operator sizes the trainer by what the cluster can give."""

    stable_seconds: Int = Field(default=60, ge=0, le=86400)
    """Seconds for which additional pods must have run before training takes them in, after a
    checkpoint. Doubles with each further time within an hour that the trainer became smaller, up
    to 16 times as long."""


def pod_step(trainer: Any) -> int:
    """The smallest number of trainer pods that the layout divides evenly.

    All sizes that the layout admits are multiples of it: data parallelism takes what is left over
    of whole replicas, of the attention's and of the experts' layout.
    """
    layout = trainer.parallelism
    ways = lcm(role_rules.attention_ways(layout), role_rules.expert_ways(layout))
    return ways // gcd(ways, role_rules.processes_per_pod(trainer.gpus_per_pod))


def trainer_sizes(trainer: Any) -> tuple[int, ...]:
    """Numbers of pods that the trainer may have, ascending: those of its elastic range that the
    layout admits, or `replicas` alone."""
    elastic = trainer.elastic
    if elastic is None:
        return (trainer.replicas,)
    step = pod_step(trainer)
    first = -(-elastic.min_replicas // step) * step
    return tuple(range(first, elastic.max_replicas + 1, step))
