"""An airline call: the customer, its reservations, and what the agent has looked up so far.

`AirlineIndex` and the predicates say what the policy allows for which reservation.
"""

import datetime
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sea_data.synthesis.candidate import DialogueBuilder, NoCandidateError
from sea_data.synthesis.plan import ToolMode
from sea_data.synthesis.procedural.goals import Goal
from sea_data.synthesis.procedural.phrasing import Phrasing
from sea_env.domains.airline.reservations import NOW
from sea_env.domains.database import Database

Record = Mapping[str, Any]
_CLOCK = datetime.datetime.fromisoformat(NOW)
TODAY = NOW[:10]


class AirlineIndex:
    """Read-only; built once per database."""

    def __init__(self, database: Database) -> None:
        self.users = database.agent["users"]
        self.flights = database.agent["flights"]
        self.reservations = {
            key: one
            for key, one in database.agent["reservations"].items()
            if one["status"] is None and key in self._profile(one["user_id"])
        }
        self.user_ids = list(self.users)
        self._routes: dict[tuple[str, str], list[str]] = {}
        for number, flight in self.flights.items():
            route = (flight["origin"], flight["destination"])
            self._routes.setdefault(route, []).append(number)
        self._cheapest: dict[tuple[str, str, str, str, int], str] = {}

    def _profile(self, user_id: str) -> list[str]:
        found: list[str] = self.users[user_id]["reservations"] if user_id in self.users else []
        return found

    def day(self, segment: Record) -> Record:
        """The flight on the segment's date."""
        found: Record = self.flights[segment["flight_number"]]["dates"].get(segment["date"]) or {}
        return found

    def cheapest(self, origin: str, destination: str, date: str, cabin: str, seats: int) -> str:
        """Number of the cheapest direct flight with enough seats; empty for none or a tie."""
        key = (origin, destination, date, cabin, seats)
        if key not in self._cheapest:
            self._cheapest[key] = self._only_cheapest(*key)
        return self._cheapest[key]

    def _only_cheapest(
        self, origin: str, destination: str, date: str, cabin: str, seats: int
    ) -> str:
        offers = sorted(
            (found["prices"][cabin], number)
            for number in self._routes.get((origin, destination), ())
            if (found := self.flights[number]["dates"].get(date)) is not None
            and found["status"] == "available"
            and found["available_seats"][cabin] >= seats
        )
        if not offers or (len(offers) > 1 and offers[0][0] == offers[1][0]):
            return ""
        return offers[0][1]


def is_ahead(index: AirlineIndex, one: Record) -> bool:
    """True if all flights are after today; those of today may leave any minute."""
    return all(segment["date"] > TODAY for segment in one["flights"])


def has_left(index: AirlineIndex, one: Record) -> bool:
    """True if a flight has landed or is in the air; a cancelled one never left."""
    return any(
        index.day(segment).get("status") in {"landed", "flying"} for segment in one["flights"]
    )


def is_recent(one: Record) -> bool:
    """True if it was made less than 24 hours ago."""
    made = datetime.datetime.fromisoformat(one["created_at"])
    return datetime.timedelta() <= _CLOCK - made < datetime.timedelta(hours=24)


def was_cancelled(index: AirlineIndex, one: Record) -> bool:
    """True if the airline cancelled one of its flights."""
    return any(index.day(segment).get("status") == "cancelled" for segment in one["flights"])


def is_entitled(index: AirlineIndex, one: Record) -> bool:
    """True if its owner may be compensated for disruptions."""
    member = index.users[one["user_id"]]["membership"] in {"silver", "gold"}
    return member or one["insurance"] == "yes" or one["cabin"] == "business"


def may_be_cancelled(index: AirlineIndex, one: Record) -> bool:
    """True if it is ahead and one of the policy's reasons holds or can be given."""
    reason = is_recent(one) or one["cabin"] == "business" or one["insurance"] == "yes"
    return is_ahead(index, one) and (reason or was_cancelled(index, one))


def must_stay(index: AirlineIndex, one: Record) -> bool:
    """True if it is ahead but the policy has no reason to cancel it."""
    return is_ahead(index, one) and not may_be_cancelled(index, one)


def is_on_sale(index: AirlineIndex, one: Record, cabin: str) -> bool:
    """True if all its flights have seats for its passengers in a cabin."""
    seats = len(one["passengers"])
    return all(
        index.day(segment).get("status") == "available"
        and index.day(segment)["available_seats"][cabin] >= seats
        for segment in one["flights"]
    )


Fits = Callable[[AirlineIndex, Record], bool]


@dataclass
class CustomerCall:
    """One call of one customer."""

    index: AirlineIndex
    user: Record
    mode: ToolMode
    phrasing: Phrasing
    taken: set[str] = field(default_factory=set)
    """Reservations that a goal of this call is about; no two goals share one."""
    read: set[str] = field(default_factory=set)

    @property
    def rng(self) -> random.Random:
        return self.phrasing.rng

    def take(self, fits: Fits) -> Record:
        """A random fitting reservation that no goal has yet; raises NoCandidateError."""
        able = [
            one
            for key in self.user["reservations"]
            if key in self.index.reservations
            and key not in self.taken
            and fits(self.index, one := self.index.reservations[key])
            and (self.mode is ToolMode.GIVEN or self._is_unique_route(one))
        ]
        if not able:
            raise NoCandidateError("no customer has another reservation of the wanted kind")
        chosen = self.rng.choice(able)
        self.taken.add(chosen["reservation_id"])
        return chosen

    def _is_unique_route(self, one: Record) -> bool:
        """True if origin and destination identify this reservation of the customer."""
        route = (one["origin"], one["destination"])
        routes = [
            (other["origin"], other["destination"])
            for key in self.user["reservations"]
            if (other := self.index.reservations.get(key)) is not None
        ]
        # The index leaves out cancelled reservations, but the customer could mean one of them.
        return routes.count(route) == 1 and len(routes) == len(self.user["reservations"])

    def name(self, one: Record) -> str:
        """The reservation in the customer's words."""
        if self.mode is ToolMode.GIVEN:
            return f"{{my}} reservation {one['reservation_id']}"
        return f"{{my}} reservation from {one['origin']} to {one['destination']}"

    def find(self, dialogue: DialogueBuilder, one: Record) -> None:
        """The agent looks the reservation up; without an id, it goes through all of them."""
        wanted = [one["reservation_id"]]
        if self.mode is ToolMode.SEARCH:
            known = list(self.user["reservations"])
            wanted = known[: known.index(one["reservation_id"]) + 1]
        for key in wanted:
            if key not in self.read:
                self.read.add(key)
                dialogue.call("get_reservation_details", reservation_id=key)

    def card(self) -> Record:
        """A credit card of the customer with unique last digits; raises NoCandidateError."""
        cards = [m for m in self.user["payment_methods"].values() if m["source"] == "credit_card"]
        digits = [card["last_four"] for card in cards]
        able = [card for card in cards if digits.count(card["last_four"]) == 1]
        if not able:
            raise NoCandidateError("no customer with such a reservation has a credit card")
        return self.rng.choice(able)


MakeGoal = Callable[[CustomerCall], Goal]


def card_text(card: Record) -> str:
    """The card in words, to follow "my" or "your"."""
    return f"{card['brand']} credit card ending in {card['last_four']}"
