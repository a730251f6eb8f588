"""kopf's handlers: what they tell the cache, and that they can't write."""

from typing import Any

import kopf
import pytest

from sea_operator.kopf_watch import registry, settings


@pytest.fixture
def handlers() -> kopf.OperatorRegistry:
    return registry(lambda take: None)


def test_nothing_is_registered_that_makes_kopf_write(handlers: Any) -> None:
    assert not handlers._changing.get_all_handlers()
    assert not handlers._spawning.get_all_handlers()
    assert len(handlers._watching.get_all_handlers()) == 1


def test_the_settings_avoid_the_known_traps() -> None:
    ours = settings()
    assert ours.queueing.worker_limit is None
    assert ours.posting.enabled is False
    assert ours.scanning.disabled is True
    assert ours.watching.server_timeout < ours.watching.client_timeout
    assert ours.watching.client_timeout <= 70, "how long a vanished server may go unnoticed"
    backoffs = ours.networking.error_backoffs
    assert isinstance(backoffs, tuple)
    assert sum(backoffs) <= 5, "how long one namespace that is refused holds up the others"


def test_kopf_is_the_version_whose_traps_we_know() -> None:
    assert kopf.__version__ == "1.45.2"
