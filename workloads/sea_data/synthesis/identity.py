"""The id of an item's rows."""

from sea_api.v1alpha1.domains import file_name
from sea_data.synthesis.plan import Item


def identity(item: Item) -> str:
    """Begins with the domain, as published ids do; says which item of which plan it is."""
    return f"{file_name(item.plan.domain)}_syn_{item.seed}_{item.key.replace('.', '_')}"
