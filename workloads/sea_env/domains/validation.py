"""One side's database through a pydantic model: validated, completed, as plain tables."""

import logging
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from sea_env.domains.database import DatabaseError

_log = logging.getLogger(__name__)


class ClosedModel(BaseModel):
    """A record that refuses unknown fields; `BaseModel` drops them."""

    model_config = ConfigDict(extra="forbid")


def validated(model: type[BaseModel], raw: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The model's plain values, dates as ISO strings.

    Raises DatabaseError with the first place of the database `name` that doesn't fit.
    """
    try:
        return model.model_validate(raw).model_dump(mode="json")
    except ValidationError as error:
        raise _misfit(error, name) from error


def validated_part(
    model: type[BaseModel], raw: Mapping[str, Any], name: str
) -> dict[str, dict[str, Any]]:
    """As `validated`, for some records of some tables; the other tables may be absent."""
    read = {}
    for table, records in raw.items():
        known = _table(model, table)
        try:
            read[table] = known.dump_python(known.validate_python(records), mode="json")
        except ValidationError as error:
            raise _misfit(error, name, table) from error
    return read


def warn_unknown_fields(domain: str, raw: Any, read: Any, name: str) -> None:
    """Logs a warning with the first field of `raw` that `read`, its validated form, lacks.

    Models drop unknown fields as tau2-bench does; without the warning a misspelled field of a
    user's database would vanish silently.
    """
    found = list(_dropped(raw, read))
    if found:
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        _log.warning(
            "The database %s has fields that %s doesn't know; they are left out: %s%s.",
            name,
            domain,
            found[0],
            more,
        )


@cache
def _table(model: type[BaseModel], table: str) -> TypeAdapter[Any]:
    annotation: Any = model.model_fields[table].annotation
    return TypeAdapter(annotation)


def _misfit(error: ValidationError, name: str, *above: str) -> DatabaseError:
    first = error.errors()[0]
    place = ".".join(str(part) for part in (*above, *first["loc"])) or "its top level"
    return DatabaseError(
        f"The database {name} is wrong at {place}: {first['msg']} "
        f"(the first of {error.error_count()} places that don't fit the domain's layout)."
    )


def _dropped(raw: Any, read: Any, place: str = "") -> Iterator[str]:
    if isinstance(raw, dict):
        for key, value in raw.items():
            inside = f"{place}/{key}" if place else key
            if key in read:
                yield from _dropped(value, read[key], inside)
            else:
                yield inside
    elif isinstance(raw, list):
        for index, (value, kept) in enumerate(zip(raw, read, strict=True)):
            yield from _dropped(value, kept, f"{place}/{index}")
