"""Which engine reads a weight version from whom: a relay from engine to engine.

The first engines that ask for a version read it from the trainer, all others from an engine that
has it; each engine serves one other at a time. So the trainer sends the same number of copies
whatever the number of engines, and the number of engines that have a version doubles with each
round. An engine that joins late reads from a peer as well, whether or not the trainer still lives.

All of it is in memory: engines announce what they hold again after a restart of the coordinator.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import Any

from sea_runtime.wire.membership import Heartbeat
from sea_runtime.wire.weights import EngineCopy, WeightVersion

TRAINER = ""
"""The trainer as a source; a peer is named by its pod."""
ROUNDS_FROM_TRAINER = 2
"""Engines per engine that the trainer's ranks could serve at full rate: with 1 or 2 the last of any
number of engines has the version equally soon, and 2 has one round of reports less."""
DAMAGED_READERS = 2
"""How many engines must get other bytes from a holder before it is believed to be damaged."""
READ_SECONDS = 900.0
"""After which a read that never ended counts as ended; above `PREFETCH_TIMEOUT_SECONDS`."""


def choose_source(
    holders: Collection[str], busy: Collection[str], served: Mapping[str, int], trainer_free: int
) -> str | None:
    """Whom the next engine reads from; None if it has to wait for a source.

    Args:
        holders: pods that hold the version, without those that failed to deliver it.
        busy: holders that another engine reads from.
        served: reads of each holder so far.
        trainer_free: engines that may still read from the trainer; 0 if it has gone.
    """
    free = [pod for pod in holders if pod not in busy]
    if free:
        return min(free, key=lambda pod: (served.get(pod, 0), pod))
    return TRAINER if trainer_free > 0 else None


def trainer_slots(ranks: int, workers: int) -> int:
    """Engines of `workers` workers that read a version from `ranks` trainer ranks."""
    return ROUNDS_FROM_TRAINER * max(1, ranks // max(1, workers))


@dataclass(frozen=True)
class _Read:
    """An engine that was given a source."""

    version: int
    attempt: int
    source: str
    began: float
    done: bool = False

    def of(self, version: int, attempt: int) -> bool:
        return (self.version, self.attempt) == (version, attempt)


@dataclass(frozen=True)
class _Refused:
    """Holders that an engine could not read a version from."""

    version: int
    attempt: int
    holders: frozenset[str] = frozenset()

    def of(self, version: int, attempt: int) -> bool:
        return (self.version, self.attempt) == (version, attempt)


class Relay:
    """What the engines of one stream hold and read.

    Args:
        alive: True if the pod calls.
        gone: True if it doesn't call any longer; one that hasn't called yet, as after a restart of
            the coordinator, is neither.
        clock: monotonic seconds.
    """

    def __init__(
        self, alive: Callable[[str], bool], gone: Callable[[str], bool], clock: Callable[[], float]
    ) -> None:
        self._alive, self._gone, self._clock = alive, gone, clock
        self._copies: dict[str, EngineCopy] = {}
        self._reads: dict[str, _Read] = {}
        self._served: Counter[str] = Counter()
        self._refused: dict[str, _Refused] = {}
        """By reader."""
        self._damaged: dict[tuple[str, int, int], set[str]] = {}
        """By holder, version and attempt: readers that got other bytes."""

    def announce(self, copy: EngineCopy) -> None:
        """An engine holds a version; it replaces what the engine held before."""
        self._forget_gone(copy.pod)
        self._copies[copy.pod] = copy
        held = {(one.version, one.attempt) for one in self._copies.values()}
        now = (copy.pod, copy.version, copy.attempt)
        self._damaged = {
            one: readers
            for one, readers in self._damaged.items()
            # Of a version that nobody holds any longer nothing has to be known.
            if one[1:] in held and (one[0] != copy.pod or one == now)
        }
        self.ended(copy.pod, copy.version)

    def _forget_gone(self, announcing: str) -> None:
        """Drops what is known of pods that don't call any longer, but for `_damaged`: one that is
        only silent for a moment must not serve damaged bytes again."""
        tables: tuple[MutableMapping[str, Any], ...]
        tables = (self._copies, self._reads, self._served, self._refused)
        for table in tables:
            for pod in [one for one in table if one != announcing and self._gone(one)]:
                del table[pod]

    def ended(self, pod: str, version: int) -> None:
        """An engine has read a version."""
        read = self._reads.get(pod)
        if read is not None and read.version <= version:
            done = _Read(read.version, read.attempt, read.source, read.began, done=True)
            self._reads[pod] = done
        self._refused.pop(pod, None)

    def unfetched(self, pod: str, version: int, attempt: int, failed: Collection[str]) -> None:
        """An engine ended a read without the version.

        Args:
            failed: the holders that didn't deliver; it isn't sent to them again for this version.
                None of them: the fault was the engine's own.
        """
        read = self._reads.get(pod)
        if read is not None and not read.done and read.of(version, attempt):
            del self._reads[pod]
        self._refuse(pod, version, attempt, failed)

    def forget(self, pod: str) -> None:
        """The engine can't be read from: it holds nothing until it announces a version again."""
        self._copies.pop(pod, None)

    def damaged(self, pod: str, reader: str, version: int, attempt: int) -> None:
        """The engine delivered other bytes than the version's.

        It announces the version again as soon as it is asked to, and may have been overwritten by a
        newer one, so the word of one reader, whose own memory may be at fault, counts until then.
        That of two is the holder's fault: it no longer delivers the version to anyone.
        """
        self._damaged.setdefault((pod, version, attempt), set()).add(reader)
        self.forget(pod)

    def follow(self, before: Heartbeat | None, beat: Heartbeat) -> None:
        """Forgets what an engine held when its heartbeat shows that it restarted."""
        if before is None:
            return
        if beat.incarnation != before.incarnation:
            # The worker that was to report how this read ended is gone.
            self._reads.pop(beat.pod, None)
        fell = (beat.adopted or 0) < (before.adopted or 0)
        if beat.incarnation != before.incarnation or fell:
            self.forget(beat.pod)
            for one in [one for one in self._damaged if one[0] == beat.pod]:
                del self._damaged[one]

    def copies(self) -> set[tuple[int, int]]:
        """(version, attempt) of everything that living engines hold."""
        return {
            (copy.version, copy.attempt) for pod, copy in self._copies.items() if self._alive(pod)
        }

    def holds(self, pod: str, version: int) -> bool:
        copy = self._copies.get(pod)
        return copy is not None and copy.version == version

    def assign(
        self, pod: str, version: WeightVersion, ranks: int, workers: int
    ) -> WeightVersion | None:
        """The version with a source for the engine that asks; None if it has to wait for one.

        Args:
            ranks: trainer ranks that serve the version, 0 if none does any longer.
            workers: of an engine.
        """
        self._note_failure(pod, version)
        refused = self._refused[pod].holders
        holders = [one for one in self._holders(version) if one != pod and one not in refused]
        under_way = [read for reader, read in self._reads_of(version) if not read.done]
        source = choose_source(
            holders,
            {read.source for read in under_way},
            self._served,
            self._trainer_free(version, holders, trainer_slots(ranks, workers) if ranks else 0),
        )
        if source is None:
            if ranks or under_way:
                return None
            # With a copy in the object store nobody waits for a source that may never come. Should
            # there be none, those that failed are all that is left.
            self._refused.pop(pod)
            return version
        self._reads[pod] = _Read(version.version, version.attempt, source, self._clock())
        if source == TRAINER:
            return version
        self._served[source] += 1
        return version.model_copy(update={"peers": [self._copies[source]]})

    def _note_failure(self, pod: str, version: WeightVersion) -> None:
        """An engine that asks for what it was given a source for could not read from it.

        Unless it said that it has the version (it restarted, or could not be paused), or how the
        read ended (`unfetched`).
        """
        read = self._reads.pop(pod, None)
        wanted = (version.version, version.attempt)
        failed = read is not None and not read.done and read.of(*wanted)
        sources = [read.source] if read is not None and failed and read.source != TRAINER else []
        self._refuse(pod, *wanted, sources)

    def _refuse(self, pod: str, version: int, attempt: int, holders: Collection[str]) -> None:
        """Adds to the holders that the engine isn't sent to again for this version."""
        refused = self._refused.get(pod)
        # Not forgotten while the engine waits for a source: it would be sent to the same one again.
        if refused is None or not refused.of(version, attempt):
            refused = _Refused(version, attempt)
        self._refused[pod] = replace(refused, holders=refused.holders.union(holders))

    def _holders(self, version: WeightVersion) -> list[str]:
        wanted = (version.version, version.attempt)
        return [
            pod
            for pod, copy in self._copies.items()
            if (copy.version, copy.attempt) == wanted
            and self._alive(pod)
            and len(self._damaged.get((pod, *wanted), ())) < DAMAGED_READERS
        ]

    def _reads_of(self, version: WeightVersion) -> list[tuple[str, _Read]]:
        """Reads of the version by engines that live, and didn't hang."""
        oldest = self._clock() - READ_SECONDS
        return [
            (pod, read)
            for pod, read in self._reads.items()
            if read.of(version.version, version.attempt)
            and self._alive(pod)
            and (read.done or read.began > oldest)
        ]

    def _trainer_free(self, version: WeightVersion, holders: Collection[str], slots: int) -> int:
        # A read that is done still counts while its reader can serve the one that asks instead: not
        # if it delivers other bytes, or if the one that asks could not read from it.
        return slots - sum(
            read.source == TRAINER and (not read.done or pod in holders)
            for pod, read in self._reads_of(version)
        )
