"""Which objects of old weight versions are deleted. Pure but for the time of its calls.

Kept are the newest anchors and everything after the oldest of them, so that each delta that can
still be wanted leads back to an anchor that is there. What is older stays for a while: an engine
may have begun to read it just before a newer anchor was known.
"""

from collections.abc import Callable, Iterable

from sea_runtime.transport.stored_versions import MANIFEST

GRACE_SECONDS = 1200.0
"""Twice the longest time that an engine takes to fetch a version."""


class Retention:
    """Remembers since when each version was not needed; the clock counts seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._passed: dict[int, float] = {}

    def deletable(self, found: Iterable[str], folder: str, newest: int, retain: int) -> list[str]:
        """Which of the URLs below `folder` to delete now.

        Args:
            newest: number of the newest anchor that is complete; a later one may be on its way.
            retain: how many anchors stay.
        """
        versions: dict[int, list[str]] = {}
        for url in found:
            name = url.removeprefix(folder + "/").partition("/")[0]
            if name[:1] == "v" and name[1:].isdecimal():
                versions.setdefault(int(name[1:]), []).append(url)
        anchors = sorted(
            number
            for number, urls in versions.items()
            # Without its manifest it is what a dead attempt left: nothing leads back to it.
            if number <= newest
            and any("/shard-" in url for url in urls)
            and any(url.endswith("/" + MANIFEST) for url in urls)
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
