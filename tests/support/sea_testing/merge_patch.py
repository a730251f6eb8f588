"""JSON merge patches, by which test cases say how a resource differs from a good one."""

from typing import Any


def merged(target: Any, patch: Any) -> Any:
    """`target` with `patch` (RFC 7386): null removes, lists are replaced."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result
