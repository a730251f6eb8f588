"""Results of the agent's tools as tau2-bench writes them.

Records are JSON with moments as `YYYY-MM-DD HH:MM:SS`; numbers that a tool itself puts into an
object come out as texts, those within a record don't.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sea_env.domains.overlay import Record

_MOMENTS = ("created_at", "activation_date", "last_esim_transfer_date")


def one(record: Record) -> str:
    return json.dumps(_written(record))


def many(records: Iterable[Record]) -> str:
    return json.dumps([_written(record) for record in records])


def summary(values: Mapping[str, Any], **records: Record) -> str:
    """An object of a tool's own values, and of whole records by name."""
    texts = {name: str(value) for name, value in values.items()}
    return json.dumps({**texts, **{name: _written(found) for name, found in records.items()}})


def _written(record: Record) -> Record:
    moments = {
        name: record[name].replace("T", " ")
        for name in _MOMENTS
        if isinstance(record.get(name), str)
    }
    return {**record, **moments} if moments else record
