"""Invented people for generated databases: names, addresses, emails, birthdays, cards."""

import datetime
import random
from typing import Any

FIRST = (
    "Adaeze", "Alwin", "Amaru", "Anselm", "Bahar", "Beatrix", "Bodil", "Caspian", "Celeste",
    "Dario", "Delphine", "Eamon", "Eluned", "Fabio", "Farida", "Gideon", "Greta", "Halvard",
    "Hyacinth", "Idris", "Ilse", "Isolde", "Jocasta", "Joaquin", "Kalina", "Kenji", "Lazar",
    "Leonie", "Ludmila", "Malik", "Marisol", "Nadir", "Noor", "Odette", "Osric", "Paloma",
    "Pavel", "Quentin", "Rafiq", "Rosalind", "Saskia", "Severin", "Tamsin", "Teodor", "Ulrika",
    "Viggo", "Wanda", "Xenia", "Yusra", "Zoltan",
)  # fmt: skip
LAST = (
    "Abernathy", "Achterberg", "Balogun", "Bancroft", "Castellan", "Cloutier", "Dalgaard",
    "Demirci", "Eszterhazy", "Fairweather", "Fontaine", "Gallagher", "Grimaldi", "Haverford",
    "Holloway", "Ibarra", "Jankowski", "Kettering", "Kowalczyk", "Lindqvist", "Lockhart",
    "Marchetti", "Mbeki", "Nakagawa", "Nightingale", "Okonkwo", "Ostrander", "Pemberton",
    "Petrosyan", "Quimby", "Rasmussen", "Rosenthal", "Sandoval", "Silverton", "Thackeray",
    "Tregarth", "Underhill", "Vandermeer", "Vasquez", "Whitlock", "Winterbourne", "Yamashita",
    "Yilmaz", "Zeller",
)  # fmt: skip
_STREETS = (
    "Alder Row", "Bramble Lane", "Canal Street", "Dovecote Road", "Ember Court", "Foundry Way",
    "Granary Square", "Heron Drive", "Ivy Terrace", "Juniper Close", "Kiln Street", "Lantern Hill",
    "Meadow Walk", "Orchard Avenue", "Quarry Road", "Saltmarsh Lane", "Thistle Street",
)  # fmt: skip
_CITIES = (
    ("Albuquerque", "NM", "871"), ("Baltimore", "MD", "212"), ("Boise", "ID", "837"),
    ("Buffalo", "NY", "142"), ("Des Moines", "IA", "503"), ("El Paso", "TX", "799"),
    ("Knoxville", "TN", "379"), ("Madison", "WI", "537"), ("Oakland", "CA", "946"),
    ("Omaha", "NE", "681"), ("Portland", "OR", "972"), ("Raleigh", "NC", "276"),
    ("Richmond", "VA", "232"), ("Savannah", "GA", "314"), ("Spokane", "WA", "992"),
    ("Tucson", "AZ", "857"), ("Tulsa", "OK", "741"), ("Worcester", "MA", "016"),
)  # fmt: skip
_BRANDS = ("visa", "mastercard", "amex")
_MAIL = ("example.com", "example.org", "example.net")


class Numbers:
    """Draws numbers of a given length, each at most once."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._drawn: set[str] = set()

    def draw(self, digits: int) -> str:
        """A number that wasn't drawn before; its first digit isn't 0."""
        while True:
            found = str(self._rng.randrange(10 ** (digits - 1), 10**digits))
            if found not in self._drawn:
                self._drawn.add(found)
                return found


def name(rng: random.Random) -> dict[str, str]:
    return {"first_name": rng.choice(FIRST), "last_name": rng.choice(LAST)}


def user_id(person: dict[str, str], numbers: Numbers) -> str:
    """`first_last_12345`, unique in a database."""
    return f"{person['first_name']}_{person['last_name']}_{numbers.draw(5)}".lower()


def email(person: dict[str, str], numbers: Numbers, rng: random.Random) -> str:
    """Unique in a database, at a domain reserved for examples."""
    name = f"{person['first_name']}.{person['last_name']}".lower()
    return f"{name}{numbers.draw(5)}@{rng.choice(_MAIL)}"


def address(rng: random.Random) -> dict[str, str]:
    city, state, area = rng.choice(_CITIES)
    return {
        "address1": f"{rng.randint(1, 998)} {rng.choice(_STREETS)}",
        "address2": f"Apt {rng.randint(1, 99)}" if rng.random() < 0.5 else "",
        "city": city,
        "country": "USA",
        "state": state,
        "zip": f"{area}{rng.randrange(100):02}",
    }


def birthday(rng: random.Random) -> str:
    """An adult's birthday, as YYYY-MM-DD."""
    return str(datetime.date(1945, 1, 1) + datetime.timedelta(days=rng.randrange(58 * 365)))


def credit_card(numbers: Numbers, rng: random.Random) -> dict[str, Any]:
    return {
        "source": "credit_card",
        "id": f"credit_card_{numbers.draw(7)}",
        "brand": rng.choice(_BRANDS),
        "last_four": f"{rng.randrange(10_000):04}",
    }
