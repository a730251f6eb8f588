"""Fields of retail's records: those that tau2 does not know it leaves out, and so do we, aloud."""

import logging
from collections.abc import Iterator
from typing import Any

_log = logging.getLogger(__name__)
_ADDRESS = frozenset({"address1", "address2", "city", "country", "state", "zip"})
_KNOWN: dict[str, Any] = {
    "orders": {
        "order_id": None,
        "user_id": None,
        "address": _ADDRESS,
        "items": [{"name", "product_id", "item_id", "price", "options"}],
        "status": None,
        "fulfillments": [{"tracking_id", "item_ids"}],
        "payment_history": [{"transaction_type", "amount", "payment_method_id"}],
        "cancel_reason": None,
        "exchange_items": None,
        "exchange_new_items": None,
        "exchange_payment_method_id": None,
        "exchange_price_difference": None,
        "return_items": None,
        "return_payment_method_id": None,
    },
    "users": {
        "user_id": None,
        "name": {"first_name", "last_name"},
        "address": _ADDRESS,
        "email": None,
        "payment_methods": None,
        "orders": None,
    },
    "products": {"name": None, "product_id": None, "variants": None},
}
"""Table -> field -> fields of the object it holds (in a list: of each object in a list)."""


def leave_out_unknown(tables: dict[str, Any], name: str) -> None:
    """Removes unknown fields from the records of a database; a warning names the first."""
    found = [
        place
        for table, known in _KNOWN.items()
        for key, record in tables[table].items()
        for place in _removed(record, known, f"{table}/{key}")
    ]
    if found:
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        _log.warning(
            "The database %s has fields that retail doesn't know; they are left out: %s%s.",
            name,
            found[0],
            more,
        )


def _removed(record: Any, known: Any, place: str) -> Iterator[str]:
    if isinstance(known, list):
        for index, item in enumerate(record if isinstance(record, list) else ()):
            yield from _removed(item, known[0], f"{place}/{index}")
        return
    if known is None or not isinstance(record, dict):
        return
    for field in [field for field in record if field not in known]:
        del record[field]
        yield f"{place}/{field}"
    if isinstance(known, dict):
        for field, inner in known.items():
            yield from _removed(record.get(field), inner, f"{place}/{field}")
