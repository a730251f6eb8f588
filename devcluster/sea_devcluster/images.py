"""Which programs stand for which image: pods of the devcluster run from this Python environment."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

REPOSITORY = "sea-operator"
NAMES = ("operator", "coordinator", "trainer", "rollout")
# A pod has a /tmp and a /run of its own, so what lies there must be shown to it.
_HIDDEN = (Path("/tmp"), Path("/run"))  # noqa: S108


def image_map(extra: Iterable[str] = ()) -> dict[str, dict[str, Any]]:
    """The node agent's `images`: our four `:dev` images and `extra` references, all alike."""
    references = [f"{REPOSITORY}/{name}:dev" for name in NAMES]
    return {reference: _environment() for reference in [*references, *extra]}


def _environment() -> dict[str, Any]:
    prefix = Path(sys.prefix)
    checkout = Path(__file__).resolve().parents[2]
    roots = (prefix, Path(sys.base_prefix), checkout)
    return {
        "path": [str(prefix / "bin")],
        # Pods see the environment read-only, so Python must not try to cache bytecode there.
        "env": {"VIRTUAL_ENV": str(prefix), "PYTHONDONTWRITEBYTECODE": "1"},
        "mounts": hidden_roots(roots),
    }


def hidden_roots(roots: Iterable[Path]) -> list[str]:
    """Those folders that a pod's own /tmp or /run would hide; none inside another."""
    hidden = {root for root in roots if any(root.is_relative_to(place) for place in _HIDDEN)}
    return sorted(
        str(root)
        for root in hidden
        if not any(root != other and root.is_relative_to(other) for other in hidden)
    )
