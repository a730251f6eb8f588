"""The interface of what does the work: plans, makes items, reflects.

`procedural.backend` needs no model; `agents.backend` asks one. The engine doesn't know which.
"""

from collections.abc import Collection, Sequence
from typing import Protocol

from sea_data.errors import DataError
from sea_data.synthesis.plan import Cost, Failure, Item, ItemResult, Plan


class BackendUnavailableError(DataError):
    """The model behind a backend doesn't answer. The run stops and can be resumed."""

    permanent = False


class Backend(Protocol):
    """All methods may raise BackendUnavailableError."""

    name: str
    """The model, as provenance names it."""

    @property
    def sent(self) -> int:
        """Requests to the model so far; they are numbered from 1 in the order of sending."""
        ...

    @property
    def answered(self) -> int:
        """The highest number of a request that got a usable reply; 0 for none."""
        ...

    async def plans(self, count: int) -> list[Plan]:
        """At most `count` plans that don't overlap."""
        ...

    async def make(self, item: Item) -> ItemResult:
        """An accepted task, or a failure with its blame. Equal items use equal random seeds."""
        ...

    async def reflect(
        self, plan: Plan, failures: Sequence[Failure], others: Collection[Plan]
    ) -> Plan:
        """The plan rewritten from its failures; it must not overlap with `others`."""
        ...

    def spent(self) -> Cost:
        """Cost of planning and reflection since the last call."""
        ...
