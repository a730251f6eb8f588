"""Generates telecom databases: customers with lines, devices and bills, and a phone. Seeded.

The user's database is a working phone without an owner: a task's initial state says whose it is and
what is broken.
"""

import random
from typing import Any

from sea_env.domains import fake_people
from sea_env.domains.database_generator import (
    GeneratedDatabase,
    Size,
    packaged_text,
    seeded_random,
)
from sea_env.domains.fake_people import Numbers
from sea_env.domains.telecom.clock import bill_dates
from sea_env.domains.telecom.phone_records import UserTables
from sea_env.domains.telecom.records import ID_FIELDS

_PLANS = (
    ("P2001", "Pebble", 3.0, 22.0, 6.0),
    ("P2002", "Brook", 8.0, 34.0, 4.5),
    ("P2003", "River", 20.0, 48.0, 3.0),
    ("P2004", "Delta", 45.0, 66.0, 2.0),
    ("P2005", "Ocean", 999.0, 92.0, 0.5),
)
"""Id, name, data limit (GB), price per month (USD), price per refueled GB (USD)."""

_DEVICES = (
    ("Kestrel 5", "phone", True),
    ("Kestrel 5 Mini", "phone", True),
    ("Lumen A2", "phone", False),
    ("Lumen S9", "phone", True),
    ("Orbit One", "phone", True),
    ("Tern Fold", "phone", True),
    ("Slate 11", "tablet", True),
    ("Slate 8", "tablet", False),
    ("Beacon Home", "router", False),
    ("Wrist 3", "watch", True),
)
"""Model, type, whether it supports an eSIM."""
_CUSTOMERS = {Size.SMALL: 20, Size.MEDIUM: 500, Size.LARGE: 5000}
_MAX_LINES = 4
_LATE = 0.08
"""Fraction of customers who owe last month's bill."""
_DRAFT = 0.7
"""Fraction of customers who already have a draft of the next bill."""
_PAYMENTS = ("Credit Card", "Debit Card", "PayPal")

Record = dict[str, Any]


def generate_database(size: Size, seed: int) -> GeneratedDatabase:
    """20, 500 or 5000 customers with one to four lines each."""
    rng = seeded_random("telecom", size, seed)
    numbers = Numbers(rng)
    tables: dict[str, dict[str, Record]] = {table: {} for table in ID_FIELDS}
    tables["plans"] = {plan[0]: _plan(*plan) for plan in _PLANS}
    for _ in range(_CUSTOMERS[size]):
        _add_customer(tables, numbers, rng)
    phone = UserTables().model_dump(mode="json")
    return GeneratedDatabase(tables, phone, packaged_text("sea_env.domains.telecom", "policy.md"))


def _plan(plan_id: str, name: str, limit: float, price: float, refuel: float) -> Record:
    return {
        "plan_id": plan_id,
        "name": name,
        "data_limit_gb": limit,
        "price_per_month": price,
        "data_refueling_price_per_gb": refuel,
    }


def _add_customer(
    tables: dict[str, dict[str, Record]], numbers: Numbers, rng: random.Random
) -> None:
    late = rng.random() < _LATE
    customer = _customer(numbers, rng)
    lines = [_line(tables, numbers, rng) for _ in range(rng.randint(1, _MAX_LINES))]
    if late:
        lines[0] |= {"status": "Suspended", "suspension_start_date": "2025-02-16"}
    bills = _bills(customer["customer_id"], lines, late, numbers, rng)
    customer["line_ids"] = [line["line_id"] for line in lines]
    customer["bill_ids"] = [bill["bill_id"] for bill in bills]
    tables["customers"][customer["customer_id"]] = customer
    tables["lines"] |= {line["line_id"]: line for line in lines}
    tables["bills"] |= {bill["bill_id"]: bill for bill in bills}


def _customer(numbers: Numbers, rng: random.Random) -> Record:
    name, home = fake_people.name(rng), fake_people.address(rng)
    methods = rng.sample(_PAYMENTS, rng.randint(1, 2))
    return {
        "customer_id": f"C{numbers.draw(6)}",
        "full_name": f"{name['first_name']} {name['last_name']}",
        "date_of_birth": fake_people.birthday(rng),
        "email": fake_people.email(name, numbers, rng),
        "phone_number": _phone_number(numbers),
        "address": {
            "street": home["address1"],
            "city": home["city"],
            "state": home["state"],
            "zip_code": home["zip"],
        },
        "account_status": "Active",
        "payment_methods": [_payment_method(kind, rng) for kind in methods],
        "created_at": f"20{rng.randint(15, 24)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
        f"T{rng.randint(8, 19):02}:{rng.randint(0, 59):02}:00",
        "last_extension_date": None,
        "goodwill_credit_used_this_year": float(rng.choice((0, 0, 0, 10, 25))),
    }


def _payment_method(kind: str, rng: random.Random) -> Record:
    return {
        "method_type": kind,
        "account_number_last_4": f"{rng.randrange(10_000):04}",
        "expiration_date": f"{rng.randint(1, 12):02}/{rng.randint(2025, 2029)}",
    }


def _line(tables: dict[str, dict[str, Record]], numbers: Numbers, rng: random.Random) -> Record:
    device = _device(numbers, rng)
    tables["devices"][device["device_id"]] = device
    plan = rng.choice(list(tables["plans"].values()))
    used = rng.uniform(0.05, 0.95) * min(plan["data_limit_gb"], 60.0)
    return {
        "line_id": f"L{numbers.draw(6)}",
        "phone_number": _phone_number(numbers),
        "status": "Active",
        "plan_id": plan["plan_id"],
        "device_id": device["device_id"],
        "data_used_gb": round(used, 1),
        "data_refueling_gb": 0.0,
        "roaming_enabled": rng.random() < 0.4,
        "contract_end_date": f"20{rng.randint(26, 28)}-{rng.randint(1, 12):02}-28",
        "last_plan_change_date": f"2024-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}",
        "last_sim_replacement_date": None,
        "suspension_start_date": None,
    }


def _device(numbers: Numbers, rng: random.Random) -> Record:
    model, kind, esim = rng.choice(_DEVICES)
    return {
        "device_id": f"D{numbers.draw(6)}",
        "device_type": kind,
        "model": model,
        "imei": numbers.draw(15),
        "is_esim_capable": esim,
        "activated": True,
        "activation_date": f"2024-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}T10:00:00",
        "last_esim_transfer_date": None,
    }


def _bills(
    customer_id: str, lines: list[Record], late: bool, numbers: Numbers, rng: random.Random
) -> list[Record]:
    """The bills of the last two months, this month, and perhaps a draft for the next."""
    prices = {plan[0]: plan[3] for plan in _PLANS}
    statuses = {-2: "Paid", -1: "Overdue" if late else "Paid", 0: rng.choice(("Issued", "Paid"))}
    bills = []
    for months, status in statuses.items():
        bill = _bill(customer_id, months, status, numbers)
        for line in lines:
            item = {
                "description": f"Plan of line {line['phone_number']}",
                "amount": prices[line["plan_id"]],
                "date": bill["issue_date"],
                "item_type": "Plan Charge",
            }
            bill["line_items"].append(item)
            bill["total_due"] = round(bill["total_due"] + item["amount"], 2)
        bills.append(bill)
    if rng.random() < _DRAFT:
        bills.append(_bill(customer_id, 1, "Draft", numbers))
    return bills


def _bill(customer_id: str, months: int, status: str, numbers: Numbers) -> Record:
    return {
        "bill_id": f"B{numbers.draw(6)}",
        "customer_id": customer_id,
        **bill_dates(months),
        "total_due": 0.0,
        "line_items": [],
        "status": status,
    }


def _phone_number(numbers: Numbers) -> str:
    """A number with 555, which is no area code."""
    digits = numbers.draw(7)
    return f"555-{digits[:3]}-{digits[3:]}"
