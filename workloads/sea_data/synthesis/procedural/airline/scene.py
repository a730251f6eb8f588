"""An airline call: who calls, what it is about, what the agent has looked up so far."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from sea_data.synthesis.desk import Desk
from sea_data.synthesis.plan import ToolMode
from sea_data.synthesis.procedural.airline.index import AirlineIndex, Record
from sea_data.synthesis.procedural.errand import Errand
from sea_data.synthesis.procedural.voice import Voice
from sea_data.synthesis.proposal import NothingFitsError

Fits = Callable[[AirlineIndex, Record], bool]


@dataclass
class Call:
    """One call of one customer."""

    index: AirlineIndex
    user: Record
    mode: ToolMode
    voice: Voice
    taken: set[str] = field(default_factory=set)
    """Reservations that an errand of this call is about; each is the matter of one only."""
    read: set[str] = field(default_factory=set)

    @property
    def rng(self) -> random.Random:
        return self.voice.rng

    def take(self, fits: Fits) -> Record:
        """A reservation of the customer's that no errand has yet."""
        able = [
            one
            for key in self.user["reservations"]
            if key in self.index.reservations
            and key not in self.taken
            and fits(self.index, one := self.index.reservations[key])
            and (self.mode is ToolMode.GIVEN or self._telling(one))
        ]
        if not able:
            raise NothingFitsError("no customer has another reservation of the wanted kind")
        chosen = self.rng.choice(able)
        self.taken.add(chosen["reservation_id"])
        return chosen

    def _telling(self, one: Record) -> bool:
        """Whether origin and destination name this one of the customer's reservations only."""
        route = (one["origin"], one["destination"])
        routes = [
            (other["origin"], other["destination"])
            for key in self.user["reservations"]
            if (other := self.index.reservations.get(key)) is not None
        ]
        # Cancelled ones are left out of the index, but the customer may mean them all the same.
        return routes.count(route) == 1 and len(routes) == len(self.user["reservations"])

    def name(self, one: Record) -> str:
        """The reservation in the customer's words."""
        if self.mode is ToolMode.GIVEN:
            return f"{{my}} reservation {one['reservation_id']}"
        return f"{{my}} reservation from {one['origin']} to {one['destination']}"

    def find(self, desk: Desk, one: Record) -> None:
        """The agent looks the reservation up; without its id, through all of the customer's."""
        wanted = [one["reservation_id"]]
        if self.mode is ToolMode.SEARCH:
            known = list(self.user["reservations"])
            wanted = known[: known.index(one["reservation_id"]) + 1]
        for key in wanted:
            if key not in self.read:
                self.read.add(key)
                desk.call("get_reservation_details", reservation_id=key)

    def card(self) -> Record:
        """A credit card of the customer's that its last digits tell apart from the others."""
        cards = [m for m in self.user["payment_methods"].values() if m["source"] == "credit_card"]
        digits = [card["last_four"] for card in cards]
        able = [card for card in cards if digits.count(card["last_four"]) == 1]
        if not able:
            raise NothingFitsError("no customer with such a reservation has a credit card")
        return self.rng.choice(able)


MakeErrand = Callable[[Call], Errand]


def card_text(card: Record) -> str:
    """After "my" or "your"."""
    return f"{card['brand']} credit card ending in {card['last_four']}"
