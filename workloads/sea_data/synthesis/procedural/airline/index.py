"""An airline database as a worker looks at it: what the policy allows for which reservation."""

import datetime
from collections.abc import Mapping
from typing import Any

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
        """Number of the only cheapest direct flight with seats that is on sale; empty for none."""
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


def lies_ahead(index: AirlineIndex, one: Record) -> bool:
    """No flight has left; today's are left alone, since they may leave any minute."""
    return all(segment["date"] > TODAY for segment in one["flights"])


def has_left(index: AirlineIndex, one: Record) -> bool:
    """A flight has landed or is in the air; one that was cancelled never left."""
    return any(
        index.day(segment).get("status") in {"landed", "flying"} for segment in one["flights"]
    )


def is_recent(one: Record) -> bool:
    """Made less than 24 hours ago."""
    made = datetime.datetime.fromisoformat(one["created_at"])
    return datetime.timedelta() <= _CLOCK - made < datetime.timedelta(hours=24)


def was_cancelled(index: AirlineIndex, one: Record) -> bool:
    """Whether the airline cancelled one of its flights."""
    return any(index.day(segment).get("status") == "cancelled" for segment in one["flights"])


def is_entitled(index: AirlineIndex, one: Record) -> bool:
    """Whether its owner may be made good for trouble."""
    member = index.users[one["user_id"]]["membership"] in {"silver", "gold"}
    return member or one["insurance"] == "yes" or one["cabin"] == "business"


def may_be_cancelled(index: AirlineIndex, one: Record) -> bool:
    """Ahead, and one of the policy's reasons holds or can be given."""
    reason = is_recent(one) or one["cabin"] == "business" or one["insurance"] == "yes"
    return lies_ahead(index, one) and (reason or was_cancelled(index, one))


def must_stay(index: AirlineIndex, one: Record) -> bool:
    """Ahead, but no reason lets it be cancelled."""
    return lies_ahead(index, one) and not may_be_cancelled(index, one)


def is_on_sale(index: AirlineIndex, one: Record, cabin: str) -> bool:
    """Whether all its flights have seats for its passengers in a cabin."""
    seats = len(one["passengers"])
    return all(
        index.day(segment).get("status") == "available"
        and index.day(segment)["available_seats"][cabin] >= seats
        for segment in one["flights"]
    )
