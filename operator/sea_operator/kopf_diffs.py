"""Keeps kopf from comparing each version of a job with the one before.

Workaround for kopf 1.45.2: for every event it builds the object's "essence" by several deep copies,
whether or not any handler asks for differences, and ours don't (`kopf_watch.py`). That is four
fifths of what an event costs, 1 ms of a core, and a new job brings a dozen.
`tests/operator/test_kopf_diffs.py` fails once kopf does so only for handlers that need it.
"""

from typing import Any, cast

import kopf


class NoDiffs(kopf.DiffBaseStorage):
    """Remembers no state of an object, so that there is nothing to compare."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return cast(kopf.BodyEssence, {})

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        """Only `on.create` and `on.update` come here."""


class NoProgress(kopf.ProgressStorage):
    """Remembers no progress: `on.event` handlers have none."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        """As `fetch`."""

    def purge(self, **_: Any) -> None:
        """As `fetch`."""

    def touch(self, **_: Any) -> None:
        """As `fetch`."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        return essence
