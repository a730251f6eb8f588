"""Seconds until N engines have a weight version, with and without the relay: a simulation.

The real `Relay` of the coordinator hands out sources; reads take as long as links allow: each GPU
sends and receives at most `LINK_BYTES_PER_S`, readers of one source share it evenly. Part of
`make bench-weights`.
"""

from collections import Counter

from sea_runtime.coordinator.relay import TRAINER, Relay
from sea_runtime.wire.weights import EngineCopy, Shard, WeightVersion

FLEETS = (1, 4, 16, 64)
LINK_BYTES_PER_S = 50e9
"""A 400 Gb/s card per GPU."""


class Fleet:
    """`engines` of `workers` GPUs that all ask at time 0; `ranks` trainer GPUs.

    Args:
        nbytes: of one engine's copy of the version.
    """

    def __init__(self, engines: int, workers: int, ranks: int, nbytes: float) -> None:
        self.workers, self.ranks = workers, ranks
        self.now, self.sent = 0.0, 0
        self.left = dict.fromkeys((f"e{index}" for index in range(engines)), nbytes)
        self.source: dict[str, str] = {}
        self._relay = Relay(lambda pod: True, lambda pod: False, lambda: self.now)
        shard = Shard(rank=0, nbytes=1, blocks=[], nixl_agent="t")
        self._version = WeightVersion(
            stream="policy", version=1, attempt=1, stage="rl", step=1, shards=[shard]
        )

    def run(self, *, relayed: bool) -> float:
        """Seconds until the last engine has all bytes."""
        while self.left:
            for pod in self.left.keys() - self.source.keys():
                self._assign(pod, relayed=relayed)
            rates = {pod: self._rate(pod) for pod in self.source}
            step = min(self.left[pod] / rate for pod, rate in rates.items())
            self.now += step
            for pod, rate in rates.items():
                self.left[pod] -= step * rate
                if self.left[pod] < 1:
                    self._done(pod)
        return self.now

    def _assign(self, pod: str, *, relayed: bool) -> None:
        version: WeightVersion | None = self._version
        if relayed:
            version = self._relay.assign(pod, self._version, self.ranks, self.workers)
        if version is not None:
            self.source[pod] = version.peers[0].pod if version.peers else TRAINER
            self.sent += not version.peers

    def _rate(self, pod: str) -> float:
        """Bytes per second: the reader's cards, or its share of the source's."""
        source = self.source[pod]
        readers = Counter(self.source.values())[source]
        gpus = self.ranks if source == TRAINER else self.workers
        return LINK_BYTES_PER_S * min(self.workers, gpus / readers)

    def _done(self, pod: str) -> None:
        del self.left[pod], self.source[pod]
        self._relay.announce(EngineCopy(pod=pod, version=1, attempt=1, workers=[]))


def rows(workers: int, ranks: int, nbytes: float) -> dict[str, dict[str, float]]:
    """Prints a row per fleet; returns `engines_s` by kind and number of engines."""
    found: dict[str, dict[str, float]] = {"relay": {}, "trainer_only": {}}
    print(f"Engines of {workers} GPUs, {nbytes / 1e9:.0f} GB each, {ranks} trainer GPUs, simulated")
    for engines in FLEETS:
        relay, direct = (Fleet(engines, workers, ranks, nbytes) for _ in range(2))
        found["relay"][str(engines)] = round(relay.run(relayed=True), 2)
        found["trainer_only"][str(engines)] = round(direct.run(relayed=False), 2)
        print(
            f"  {engines:3} engines: {relay.now:6.2f} s with the relay"
            f" ({relay.sent} copies from the trainer), {direct.now:6.2f} s from the trainer alone"
        )
    return found
