"""What `.venv` was made from, so that the second `make setup` has nothing to do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

NAME = "sea-setup.json"


def wanted(root: Path, files: Iterable[str], **facts: str) -> dict[str, str]:
    """The stamp of an environment made from these files of the checkout and these facts."""
    hashes = {name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in files}
    return {**hashes, **facts, "root": str(root)}


def changes(environment: Path, stamp: dict[str, str]) -> set[str]:
    """In what the wanted stamp differs from that of `.venv`; in all if there is no `.venv`."""
    try:
        content = json.loads((environment / NAME).read_text())
    except (OSError, ValueError):
        return set(stamp)
    if not (environment / "bin" / "python").exists():
        return set(stamp)
    return {key for key in {*stamp, *content} if stamp.get(key) != content.get(key)}


def write(environment: Path, stamp: dict[str, str]) -> None:
    """Written last: an interrupted installation has no stamp."""
    (environment / NAME).write_text(json.dumps(stamp, indent=1))


def remove(environment: Path) -> None:
    """Before anything is changed."""
    (environment / NAME).unlink(missing_ok=True)
