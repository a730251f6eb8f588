"""Which objects of old weight versions are deleted. Pure but for the time of its calls.

Kept are the newest anchors and everything after the oldest of them, so that each delta that can
still be wanted leads back to an anchor that is there. What is older stays for a while: an engine
may have begun to read it just before a newer anchor was known.
"""

import re
from collections.abc import Callable, Iterable

from sea_runtime.transport.stored_versions import MANIFEST

GRACE_SECONDS = 1200.0
"""Twice the longest time that an engine takes to fetch a version."""
_ATTEMPT = re.compile(r"/(?:shard|delta)-\d+-a(\d+)\.bin$")
"""In the address of an object (`stored_versions.shard_url`, `delta_url`)."""


class Retention:
    """Remembers since when each version was not needed; the clock counts seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._passed: dict[int, float] = {}

    def deletable(
        self,
        found: Iterable[str],
        folder: str,
        newest: int,
        retain: int,
        is_anchor: Callable[[int], bool],
    ) -> list[str]:
        """Which of the URLs below `folder` to delete now.

        Args:
            newest: number of the newest anchor that is complete; a later one may be on its way.
            retain: how many anchors stay.
            is_anchor: whether a version's manifest names all its bytes; asked only where addresses
                don't say.
        """
        versions: dict[int, list[str]] = {}
        for url in found:
            name = url.removeprefix(folder + "/").partition("/")[0]
            if name[:1] == "v" and name[1:].isdecimal():
                versions.setdefault(int(name[1:]), []).append(url)
        anchors = sorted(
            number
            for number, urls in versions.items()
            if number <= newest
            and any("/shard-" in url for url in urls)
            # Without its manifest it is what a dead attempt left: nothing leads back to it.
            and any(url.endswith("/" + MANIFEST) for url in urls)
            # The manifest may be of an attempt that published deltas, and the shards of one that
            # died before its own.
            and (_attempts(urls) == 1 or is_anchor(number))
        )
        oldest = anchors[-retain:][0] if anchors else 0
        now = self._clock()
        self._passed = {
            number: self._passed.get(number, now) for number in versions if number < oldest
        }
        return [
            url
            for number, since in self._passed.items()
            if now - since >= GRACE_SECONDS
            for url in versions[number]
        ]


def _attempts(urls: Iterable[str]) -> int:
    """How many attempts have left objects of a version."""
    return len({match[1] for url in urls if (match := _ATTEMPT.search(url))})
