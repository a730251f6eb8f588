"""Records of the agent's database. Money is USD, data volumes are GB, dates are ISO strings.

Validation completes absent fields as tau2-bench does and refuses unknown ones. Tables are lists in
the file; `tables_by_id` makes dicts of them.
"""

import datetime
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from sea_env.domains.database import DatabaseError
from sea_env.domains.overlay import Tables
from sea_env.domains.validation import ClosedModel

BillStatus = Literal["Draft", "Issued", "Awaiting Payment", "Paid", "Overdue", "Disputed"]
LineStatus = Literal["Active", "Suspended", "Pending Activation", "Closed"]


class Plan(ClosedModel):
    plan_id: str
    name: str
    data_limit_gb: float
    price_per_month: float
    data_refueling_price_per_gb: float


class Device(ClosedModel):
    device_id: str
    device_type: Literal["phone", "router", "tablet", "watch", "other"]
    model: str
    imei: str | None = None
    is_esim_capable: bool
    activated: bool = False
    activation_date: datetime.datetime | None = None
    last_esim_transfer_date: datetime.datetime | None = None


class Line(ClosedModel):
    line_id: str
    phone_number: str
    status: LineStatus = "Pending Activation"
    plan_id: str
    device_id: str | None = None
    data_used_gb: float = 0.0
    data_refueling_gb: float = 0.0
    roaming_enabled: bool = False
    contract_end_date: datetime.date | None = None
    last_plan_change_date: datetime.date | None = None
    last_sim_replacement_date: datetime.date | None = None
    suspension_start_date: datetime.date | None = None


class LineItem(ClosedModel):
    description: str
    amount: float
    date: datetime.date
    item_type: str


class Bill(ClosedModel):
    bill_id: str
    customer_id: str
    period_start: datetime.date
    period_end: datetime.date
    issue_date: datetime.date
    total_due: float
    due_date: datetime.date
    line_items: list[LineItem] = []
    status: BillStatus = "Draft"


class Address(ClosedModel):
    street: str
    city: str
    state: str
    zip_code: str


class PaymentMethod(ClosedModel):
    method_type: Literal["Credit Card", "Debit Card", "PayPal"]
    account_number_last_4: str
    expiration_date: str


class Customer(ClosedModel):
    customer_id: str
    full_name: str
    date_of_birth: str
    email: str
    phone_number: str
    address: Address
    account_status: Literal["Active", "Suspended", "Pending Verification", "Closed"] = (
        "Pending Verification"
    )
    payment_methods: list[PaymentMethod] = []
    line_ids: list[str] = []
    bill_ids: list[str] = []
    created_at: datetime.datetime | datetime.date = Field(
        datetime.date(2025, 1, 1), union_mode="left_to_right"
    )
    last_extension_date: datetime.date | None = None
    goodwill_credit_used_this_year: float = 0.0


class TelecomTables(ClosedModel):
    """The agent's whole database."""

    plans: list[Plan] = []
    customers: list[Customer] = []
    lines: list[Line] = []
    bills: list[Bill] = []
    devices: list[Device] = []


ID_FIELDS = {
    "plans": "plan_id",
    "customers": "customer_id",
    "lines": "line_id",
    "bills": "bill_id",
    "devices": "device_id",
}
"""The agent's tables, which are lists in the file, and the field with a record's id."""


def tables_as_lists(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Tables as the file has them; each may also be given as an object by id."""
    return {
        table: list(records.values()) if isinstance(records, Mapping) else records
        for table, records in raw.items()
    }


def tables_by_id(lists: Mapping[str, Any], name: str) -> Tables:
    """Validated lists of records -> tables by id. Raises DatabaseError for an id that repeats."""
    return {table: _by_id(table, lists[table], name) for table in ID_FIELDS}


def _by_id(table: str, records: list[dict[str, Any]], name: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        key = record[ID_FIELDS[table]]
        if key in found:
            raise DatabaseError(f"The database {name} has two {table} with the id {key!r}.")
        found[key] = record
    return found
