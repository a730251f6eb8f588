"""A worker reads a version from a peer over real NIXL, and what happens when the peer goes away."""

from collections.abc import Callable, Iterator, Sequence

import pytest
import torch

from sea_runtime.parallel.regions import Run
from sea_runtime.rollout.vllm_plugin import fetch
from sea_runtime.rollout.vllm_plugin.fetch import Fetched, Fetcher, FetchError, NixlReader
from sea_runtime.rollout.vllm_plugin.host_copies import HostCopies
from sea_runtime.transport import manifest
from sea_runtime.transport.read_plan import reads_of
from sea_runtime.transport.sources import NIXL, Source
from sea_runtime.wire.weights import PEER, EngineCopy, FetchCause, WeightVersion
from sea_testing.waiting import HANG_S
from sea_testing.weights_source import WeightsSource, needed, tensor

pytestmark = pytest.mark.component

NBYTES = 32 << 20
"""Takes tens of milliseconds over TCP: a fault after the read has begun hits it on its way."""


class Engine:
    """The reading side of one worker; `during` happens in its first read."""

    def __init__(self) -> None:
        self.reader = NixlReader()
        self.copies = HostCopies(self.reader.abandoned, self.reader.release)
        self.during: Callable[[], None] | None = None

    def begin(self, source: Source, runs: Sequence[Run], out: torch.Tensor) -> Callable[[], None]:
        finish = self.reader.begin(source, runs, out)
        if self.during is not None:
            during, self.during = self.during, None
            during()
        return finish

    def fetch(self, version: WeightVersion, *peers: EngineCopy) -> Fetched:
        offered = version.model_copy(update={"peers": list(peers)})
        fetcher = Fetcher({PEER: self, NIXL: self}, self.copies.target)
        return fetcher.fetch(offered, reads_of(offered, needed(offered)))


@pytest.fixture(scope="module")
def trainer() -> Iterator[WeightsSource]:
    with WeightsSource("trainer") as process:
        yield process


@pytest.fixture
def peer() -> Iterator[WeightsSource]:
    with WeightsSource("early") as process:
        yield process


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setattr(fetch, "MIN_NIXL_TIMEOUT_SECONDS", 1.0)
    worker = Engine()
    yield worker
    worker.reader.close()


def bytes_of(fetched: Fetched, version: WeightVersion) -> torch.Tensor:
    rows = [manifest.view(block, fetched.buffers[0]) for block in version.shards[0].blocks]
    return torch.cat(rows)


def causes(fetched: Fetched) -> dict[str, FetchCause]:
    return {one.name: one.cause for one in fetched.failed}


def without_trainer(version: WeightVersion) -> WeightVersion:
    return version.copies()


def test_a_peer_alone_is_enough(
    trainer: WeightsSource, peer: WeightsSource, engine: Engine
) -> None:
    """The version's trainer isn't even named; then a peer that overwrote the version is noticed.

    It keeps two versions: the one before its newest is still whole.
    """
    first, second, third = (trainer.publish(number, NBYTES) for number in (1, 2, 3))
    copy = peer.fetch(first)
    fetched = engine.fetch(without_trainer(first), copy)
    assert (fetched.transport, fetched.failed) == (PEER, ())
    assert torch.equal(bytes_of(fetched, first), tensor(1, NBYTES))
    peer.fetch(second)
    assert engine.fetch(without_trainer(first), copy).transport == PEER
    peer.fetch(third)
    with pytest.raises(FetchError, match=r"Peer early: \d+ blocks have wrong checksums"):
        engine.fetch(without_trainer(first), copy)
    fetched = engine.fetch(first, copy)
    assert (fetched.transport, causes(fetched)) == (NIXL, {"early": FetchCause.DAMAGED})


FAULTS = [("kill", FetchCause.UNREACHABLE), ("stop", FetchCause.TIMED_OUT)]


@pytest.mark.parametrize(("fault", "cause"), FAULTS)
def test_a_peer_that_goes_away_in_mid_read_is_left_for_the_trainer(
    trainer: WeightsSource, peer: WeightsSource, engine: Engine, fault: str, cause: FetchCause
) -> None:
    """Killed: an error. Stopped: a time-out, and the read's memory is put aside."""
    version = trainer.publish(4, NBYTES)
    copy = peer.fetch(version)
    engine.during = getattr(peer, fault)
    fetched = engine.fetch(version, copy)
    assert (fetched.transport, causes(fetched)) == (NIXL, {"early": cause})
    assert torch.equal(bytes_of(fetched, version), tensor(4, NBYTES))


@pytest.mark.parametrize(("fault", "cause"), FAULTS)
def test_a_trainer_that_goes_away_in_mid_read_delivers_nothing(
    trainer: WeightsSource, peer: WeightsSource, engine: Engine, fault: str, cause: FetchCause
) -> None:
    """`peer` is the trainer here; the version of the attempt after it is read as ever."""
    engine.during = getattr(peer, fault)
    with pytest.raises(FetchError) as caught:
        engine.fetch(peer.publish(5, NBYTES))
    assert [one.cause for one in caught.value.failed] == [cause]
    version = trainer.publish(5, NBYTES)
    assert torch.equal(bytes_of(engine.fetch(version), version), tensor(5, NBYTES))


def test_a_trainer_that_publishes_into_memory_that_is_being_read_leaves_no_mixture(
    trainer: WeightsSource, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The read itself succeeds, with bytes of two versions."""
    monkeypatch.setattr(fetch, "MIN_NIXL_TIMEOUT_SECONDS", HANG_S)  # it lasts while it publishes
    old = trainer.publish(6, NBYTES)
    published: list[WeightVersion] = []
    engine.during = lambda: published.append(trainer.publish(7, NBYTES, over=True))
    with pytest.raises(FetchError, match="wrong checksums") as caught:
        engine.fetch(old)
    assert [one.cause for one in caught.value.failed] == [FetchCause.DAMAGED]
    assert torch.equal(bytes_of(engine.fetch(published[0]), published[0]), tensor(7, NBYTES))
