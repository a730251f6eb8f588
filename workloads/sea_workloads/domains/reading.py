"""One side's database through a pydantic model: validated, completed, as plain tables."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from sea_workloads.domains.database import DatabaseError


def validated(model: type[BaseModel], raw: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The model's plain values, dates as ISO texts. Raises DatabaseError naming the first place."""
    try:
        return model.model_validate(raw).model_dump(mode="json")
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "its top level"
        raise DatabaseError(
            f"The database {name} is wrong at {place}: {first['msg']} "
            f"(the first of {error.error_count()} places that don't fit the domain's layout)."
        ) from error
