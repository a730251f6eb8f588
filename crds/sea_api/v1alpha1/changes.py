"""The Python half of the transition rules: may this resource be edited into that one?"""

from collections.abc import Iterator
from typing import Any

from sea_api.v1alpha1.base import ApiModel


def refused_changes(old: ApiModel, new: ApiModel) -> list[str]:
    """Sentences of the rules that the edit from `old` to `new` breaks; empty means allowed.

    Like the API server it compares an object only with its own predecessor: a block that was
    added or removed has none.
    """
    own = [rule.message for rule in new.transitions if not rule.holds(new, old)]
    return own + [message for pair in _children(old, new) for message in refused_changes(*pair)]


def _children(old: ApiModel, new: ApiModel) -> Iterator[tuple[ApiModel, ApiModel]]:
    for name in type(new).model_fields:
        before: Any = getattr(old, name)
        after: Any = getattr(new, name)
        if isinstance(before, ApiModel) and isinstance(after, ApiModel):
            yield before, after
