"""Which leases this process holds, so that an answer that got lost on its way costs no episode.

When the coordinator handed out leases and the answer never arrived, it believes that the worker
runs them. Each request therefore says what the worker really holds; the rest is sent again.
"""

from sea_runtime.wire.rollouts import LeaseRequest, Leases


class HeldLeases:
    def __init__(self) -> None:
        self._ids: set[str] = set()

    def declare(self, request: LeaseRequest) -> LeaseRequest:
        """The request with `holding` filled in, unless the caller did."""
        if request.holding is not None:
            return request
        return request.model_copy(update={"holding": sorted(self._ids)})

    def took(self, leases: Leases) -> Leases:
        self._ids.update(lease.lease_id for lease in leases.leases)
        return leases

    def gave_up(self, lease_id: str) -> None:
        self._ids.discard(lease_id)
