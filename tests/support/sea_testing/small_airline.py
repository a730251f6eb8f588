"""A small airline: flights, a traveler, her reservations, and arguments of calls about them."""

from typing import Any

from sea_env.domains import registry

AIRLINE = registry.get("airline")
DAY, NEXT, LATER = "2024-05-20", "2024-05-21", "2024-05-31"
ANN = {"first_name": "Ann", "last_name": "Lee", "dob": "1990-01-01"}
BOB = {"first_name": "Bob", "last_name": "Lee", "dob": "1991-01-01"}


def on_sale(economy: int = 9, price: int = 100) -> dict[str, Any]:
    return {
        "status": "available",
        "available_seats": {"basic_economy": 9, "economy": economy, "business": 1},
        "prices": {"basic_economy": 50, "economy": price, "business": 300},
    }


def flight(number: str, way: str, times: str, dates: dict[str, Any]) -> dict[str, Any]:
    (origin, destination), (leaves, arrives) = way.split("-"), times.split(">")
    return {
        "flight_number": number,
        "origin": origin,
        "destination": destination,
        "scheduled_departure_time_est": leaves,
        "scheduled_arrival_time_est": arrives,
        "dates": dates,
    }


def reservation(identity: str, cabin: str = "economy", price: int = 80) -> dict[str, Any]:
    segment = {"origin": "SFO", "destination": "DEN", "flight_number": "F1", "date": DAY}
    return {
        "reservation_id": identity,
        "user_id": "ann",
        "origin": "SFO",
        "destination": "DEN",
        "flight_type": "one_way",
        "cabin": cabin,
        "flights": [{**segment, "price": price}],
        "passengers": [ANN, BOB],
        "payment_history": [{"payment_id": "card", "amount": 2 * price}],
        "created_at": "2024-05-10T10:00:00",
        "total_baggages": 1,
        "nonfree_baggages": 0,
        "insurance": "no",
    }


TABLES: dict[str, Any] = {
    "flights": {
        "F1": flight(
            "F1",
            "SFO-DEN",
            "06:00:00>08:00:00",
            {
                DAY: on_sale(),
                NEXT: {"status": "cancelled"},
                LATER: on_sale(economy=1, price=140),
                "2024-05-14": {
                    "status": "landed",
                    "actual_departure_time_est": "2024-05-14T06:01:00",
                    "actual_arrival_time_est": "2024-05-14T08:02:00",
                },
            },
        ),
        "F2": flight("F2", "DEN-JFK", "08:00:00>12:00:00", {DAY: on_sale()}),
        "F3": flight("F3", "DEN-JFK", "07:59:00>11:00:00", {DAY: on_sale()}),
        "F4": flight("F4", "SFO-DEN", "22:00:00>01:00:00+1", {DAY: on_sale(price=30)}),
        "F5": flight("F5", "DEN-JFK", "09:00:00>13:00:00", {NEXT: on_sale()}),
        "F6": flight("F6", "DEN-SFO", "15:00:00>17:00:00", {DAY: on_sale(), NEXT: on_sale()}),
    },
    "users": {
        "ann": {
            "user_id": "ann",
            "name": {"first_name": "Ann", "last_name": "Lee"},
            "address": {
                "address1": "1 A",
                "city": "C",
                "country": "X",
                "state": "S",
                "zip": "9",
            },
            "email": "ann@x",
            "dob": "1990-01-01",
            "payment_methods": {
                "card": {"source": "credit_card", "id": "card", "brand": "visa", "last_four": "1"},
                "gift": {"source": "gift_card", "id": "gift", "amount": 120},
                "cert": {"source": "certificate", "id": "cert", "amount": 60},
            },
            "saved_passengers": [],
            "membership": "silver",
            "reservations": ["R1"],
        }
    },
    "reservations": {"R1": reservation("R1"), "R2": {**reservation("R2"), "user_id": "gone"}},
}


def booking(**other: Any) -> dict[str, Any]:
    """A correct booking: two seats of 100, insurance 60, one paid bag 50."""
    return {
        "user_id": "ann",
        "origin": "SFO",
        "destination": "DEN",
        "flight_type": "one_way",
        "cabin": "economy",
        "flights": [{"flight_number": "F1", "date": DAY}],
        "passengers": [ANN, BOB],
        "payment_methods": pay(cert=60, gift=100, card=150),
        "total_baggages": 5,
        "nonfree_baggages": 1,
        "insurance": "yes",
        **other,
    }


def pay(**amounts: int) -> list[dict[str, Any]]:
    return [{"payment_id": name, "amount": amount} for name, amount in amounts.items()]


def change(*flights: tuple[str, str], cabin: str = "economy", by: str = "card") -> dict[str, Any]:
    return {
        "reservation_id": "R1",
        "cabin": cabin,
        "flights": [{"flight_number": number, "date": date} for number, date in flights],
        "payment_id": by,
    }


def bags(total: int, paid: int, by: str = "card", of: str = "R1") -> dict[str, Any]:
    return {
        "reservation_id": of,
        "total_baggages": total,
        "nonfree_baggages": paid,
        "payment_id": by,
    }
