"""What every part of a training process needs: who it is, its peers, its coordinator, its store."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sea_runtime.client.sync_client import CoordinatorClient
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.trainer.report import Report
from sea_runtime.trainer.settings import PodSettings
from sea_runtime.trainer.world import World

if TYPE_CHECKING:  # it brings Megatron, which who only reads data has no use for
    from sea_runtime.trainer.groups import Control


@dataclass(frozen=True)
class Job:
    pod: PodSettings
    world: World
    control: "Control"
    client: CoordinatorClient
    """Used by rank 0 only."""
    store: ObjectStore
    report: Report

    @property
    def leads(self) -> bool:
        """Rank 0 talks to the coordinator and commits."""
        return self.world.rank == 0

    @property
    def attempt(self) -> int:
        return self.world.attempt
