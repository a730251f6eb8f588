"""What every pod worker of one agent shares."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import aiohttp

from .addresses import AddressPool
from .api import ApiClient
from .backoff import BackoffPolicy
from .config import ImageConfig, NodeConfig
from .errors import UnknownImageError
from .events import EventRecorder
from .names import HostsKeeper
from .references import References


@dataclass(frozen=True)
class NodeKit:
    """The agent's tools, injected into everything that runs pods."""

    config: NodeConfig
    api: ApiClient
    references: References
    events: EventRecorder
    addresses: AddressPool
    names: HostsKeeper
    session: aiohttp.ClientSession
    """For HTTP probes; not the API server's."""
    bwrap: str
    now: Callable[[], datetime]

    @property
    def backoff(self) -> BackoffPolicy:
        """The configured CrashLoopBackOff."""
        config = self.config
        return BackoffPolicy(
            config.crash_backoff_start, config.crash_backoff_limit, config.crash_backoff_reset
        )

    def image(self, reference: str) -> ImageConfig:
        """What an image means here; UnknownImageError lists the ones this devcluster knows."""
        if reference in self.config.images:
            return self.config.images[reference]
        known = ", ".join(sorted(self.config.images)) or "none"
        message = (
            f"Image {reference!r} isn't known to this devcluster (known: {known}): "
            "use one of these or add it to the devcluster's image map."
        )
        raise UnknownImageError(message)
