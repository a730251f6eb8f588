"""Where a worker takes a weight version from: other processes' memory, else the object store.

The network first (a peer engine, the trainer), since it has every version at once; where that is
out of reach, or its sources are gone, the object store: deltas from what is held, else an anchor.
Used by `staging`'s thread.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from sea_runtime.rollout.vllm_plugin.delta_fetch import DeltaFetcher
from sea_runtime.rollout.vllm_plugin.fetch import (
    Fetched,
    Fetcher,
    FetchError,
    Reader,
    out_of_reach,
)
from sea_runtime.rollout.vllm_plugin.host_copies import HostCopies
from sea_runtime.rollout.vllm_plugin.store_reader import Store, object_store
from sea_runtime.transport import stored_versions
from sea_runtime.transport.read_plan import ShardRead
from sea_runtime.wire.weights import FailedSource, WeightVersion

_log = logging.getLogger(__name__)

TRY_AGAIN_AFTER = 10
"""Versions that come straight from the store after the network failed: each attempt on a network
that drops packets costs a time-out."""


class NetworkChoice:
    """Whether the network is worth a try; remembers the last failure."""

    def __init__(self) -> None:
        self._agents: frozenset[str] = frozenset()
        self._left = 0
        self.reason = ""
        """Why the network failed last; empty if it didn't."""

    def is_worth(self, agents: frozenset[str]) -> bool:
        """Call once per version that the store has too; other agents are another network."""
        if not self.reason or not agents <= self._agents:
            return True
        self._left -= 1
        return self._left < 0

    def worked(self) -> None:
        self.reason = ""

    def failed(self, agents: frozenset[str], reason: str) -> None:
        # All that failed since it last worked: another peer is named for each version.
        self._agents = agents | self._agents if self.reason else agents
        self._left, self.reason = TRY_AGAIN_AFTER, reason


class VersionFetcher:
    """Brings versions into the host copies.

    Args:
        readers: by transport, of the network.
        copies: what is held, and memory for the next version.
        store: the object store, made at the first use.
        turn: says `Fetcher`'s, at each fetch: this may be made before the worker is forked.
    """

    def __init__(
        self,
        readers: Mapping[str, Reader],
        copies: HostCopies,
        store: Callable[[], Store] = object_store,
        turn: Callable[[], int] = lambda: 0,
    ) -> None:
        self._readers, self._copies, self._turn = readers, copies, turn
        self._deltas = DeltaFetcher(store, copies.target)
        self._network = NetworkChoice()

    def fetch(self, version: WeightVersion, reads: Sequence[ShardRead]) -> Fetched:
        """Fills and verifies one buffer per read.

        Raises:
            FetchError: with the reasons of every source that was tried.
        """
        stored = stored_versions.is_stored(version)
        agents = frozenset(agents_of(version))
        failed: tuple[FailedSource, ...] = ()
        why = ""
        if not stored or (agents and self._network.is_worth(agents)):
            try:
                network = Fetcher(self._readers, self._copies.target, self._turn())
                fetched = network.fetch(_without_store(version), reads)
            except FetchError as error:
                failed, why = error.failed, str(error)
                # Only then: sources that have gone on to newer versions will deliver the next one.
                if out_of_reach(failed):
                    self._network.failed(agents, why)
                if not stored:
                    raise
                _log.info("Version %d comes from the object store: %s", version.version, why)
            else:
                self._network.worked()
                return fetched
        reason = self._network.reason if agents else ""
        try:
            fetched = self._deltas.bring(version, reads, self._copies.newest)
        except FetchError as error:
            reasons = dict.fromkeys(filter(None, [why, reason, str(error)]))
            raise FetchError(" ".join(reasons), (*failed, *error.failed)) from error
        return replace(fetched, failed=failed, unreachable=reason)

    @property
    def unreachable(self) -> str:
        """Why the network could not be read last; empty if it could, or wasn't tried."""
        return self._network.reason


def agents_of(version: WeightVersion) -> list[str]:
    """NIXL agents that the version may be read from."""
    peers = [worker.nixl_agent for peer in version.peers for worker in peer.workers]
    return peers + [shard.nixl_agent for shard in version.shards if shard.nixl_agent]


def _without_store(version: WeightVersion) -> WeightVersion:
    gone = {"object_url": None, "delta": None}
    shards = [shard.model_copy(update=gone) for shard in version.shards]
    return version.model_copy(update={"shards": shards})
