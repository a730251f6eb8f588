"""Who does the work: a crew plans, makes items and reflects. The engine doesn't know how."""

from collections.abc import Collection, Sequence
from typing import Protocol

from sea_data.synthesis.outcome import Cost, Failure, Outcome
from sea_data.synthesis.plan import Item, Plan


class CrewUnavailableError(RuntimeError):
    """The model behind a crew gives no answer: nobody's failure, the run stops and is resumed."""


class Crew(Protocol):
    """Procedural workers or a model's agents. All methods may raise CrewUnavailableError."""

    name: str
    """The model, as provenance names it."""

    @property
    def sent(self) -> int:
        """Requests to the model so far; they are numbered from 1 as they are sent."""
        ...

    @property
    def answered(self) -> int:
        """The newest of them that got a usable reply: until when the model is known to live."""
        ...

    async def plans(self, count: int) -> list[Plan]:
        """At most `count` plans that don't overlap."""
        ...

    async def make(self, item: Item) -> Outcome:
        """A made and checked task, or a failure with its blame. The same item, the same seed."""
        ...

    async def reflect(
        self, plan: Plan, failures: Sequence[Failure], others: Collection[Plan]
    ) -> Plan:
        """The plan rewritten from its failures; it must not overlap with `others`."""
        ...

    def spent(self) -> Cost:
        """What planning and reflection have taken since this was last asked."""
        ...
