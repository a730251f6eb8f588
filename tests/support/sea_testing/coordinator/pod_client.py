"""The blocking client of simulated pods: what the product's pods send with the async one."""

from sea_runtime.client import calls
from sea_runtime.client.async_client import HeldLeases
from sea_runtime.client.sync_client import CoordinatorClient
from sea_runtime.wire.membership import Heartbeat, HeartbeatReply
from sea_runtime.wire.rollouts import EpisodeResult, LeaseRequest, Leases
from sea_runtime.wire.weights import WeightQueryReply


class PodClient(CoordinatorClient):
    """For one thread that leases and any number that beat."""

    def __init__(self, url: str, token: str, retry_timeout: float) -> None:
        super().__init__(url, token, retry_timeout=retry_timeout)
        self._held = HeldLeases()

    def heartbeat(self, beat: Heartbeat) -> HeartbeatReply:
        return self.send(calls.heartbeat(beat))

    def newer_weights(self, stream: str, after: int, wait: float) -> WeightQueryReply:
        return self.send(calls.newer_weights(stream, after, wait))

    def lease(self, request: LeaseRequest) -> Leases:
        return self._held.took(self.send(calls.lease(self._held.declare(request))))

    def result(self, episode: EpisodeResult) -> bool:
        accepted = self.send(calls.result(episode))
        self._held.gave_up(episode.lease_id)
        return accepted
