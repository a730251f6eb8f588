"""One side's database through a pydantic model: validated, completed, as plain tables."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from sea_env.domains.database import DatabaseError


def validated_part(
    model: type[BaseModel], raw: Mapping[str, Any], name: str
) -> dict[str, dict[str, Any]]:
    """The same for some records of some tables, which say nothing of the others."""
    read = {}
    for table, records in raw.items():
        known = _table(model, table)
        try:
            read[table] = known.dump_python(known.validate_python(records), mode="json")
        except ValidationError as error:
            raise _misfit(error, name, table) from error
    return read


@cache
def _table(model: type[BaseModel], table: str) -> TypeAdapter[Any]:
    annotation: Any = model.model_fields[table].annotation
    return TypeAdapter(annotation)


def validated(model: type[BaseModel], raw: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The model's plain values, dates as ISO texts. Raises DatabaseError naming the first place."""
    try:
        return model.model_validate(raw).model_dump(mode="json")
    except ValidationError as error:
        raise _misfit(error, name) from error


def _misfit(error: ValidationError, name: str, *above: str) -> DatabaseError:
    first = error.errors()[0]
    place = ".".join(str(part) for part in (*above, *first["loc"])) or "its top level"
    return DatabaseError(
        f"The database {name} is wrong at {place}: {first['msg']} "
        f"(the first of {error.error_count()} places that don't fit the domain's layout)."
    )
