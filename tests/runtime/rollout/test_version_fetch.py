"""`Auto`: the network first, else deltas, else an anchor; and it says why."""

from collections.abc import Callable, Sequence

import pytest
import torch

from sea_data.object_store import ObjectNotFoundError
from sea_runtime.parallel.regions import Region, Run
from sea_runtime.rollout.vllm_plugin.fetch import FetchError
from sea_runtime.rollout.vllm_plugin.host_copies import HostCopies
from sea_runtime.rollout.vllm_plugin.version_fetch import (
    TRY_AGAIN_AFTER,
    NetworkChoice,
    VersionFetcher,
)
from sea_runtime.transport import manifest
from sea_runtime.transport.read_plan import reads_of
from sea_runtime.transport.sources import NIXL, OBJECT_STORE, Source
from sea_runtime.wire.weights import FetchCause, Shard, WeightVersion

TENSORS = {"a": torch.arange(40, dtype=torch.float32).view(4, 10)}
NEEDED = {"a": [Region.whole((4, 10))]}
URL = "s3://runs/job/weights/policy/v000001/shard-0.bin"


class Trainer:
    """Serves one version, over a network that can be cut, and in a store."""

    def __init__(self) -> None:
        blocks = manifest.plan(TENSORS)
        self.buffer = manifest.allocate(manifest.total_bytes(blocks))
        self.blocks = manifest.pack(blocks, TENSORS.items(), self.buffer)
        self.cut = False
        self.overwritten = False
        self.tried = 0

    def version(self, *, nixl: bool, stored: bool, agent: str = "trainer-1") -> WeightVersion:
        shard = Shard(
            rank=0,
            nbytes=self.buffer.numel(),
            blocks=self.blocks,
            nixl_agent=agent if nixl else None,
            nixl_metadata="m" if nixl else None,
            nixl_address=1 if nixl else None,
            object_url=URL if stored else None,
        )
        return WeightVersion(
            stream="policy", version=1, attempt=1, stage="rl", step=1, shards=[shard]
        )

    def begin(self, source: Source, runs: Sequence[Run], out: torch.Tensor) -> Callable[[], None]:
        self.tried += 1

        def finish() -> None:
            if self.cut:
                raise ConnectionError("packets are dropped")
            out[: self.buffer.numel()] = self.buffer
            if self.overwritten:
                out[5] += 1

        return finish

    def get(self, url: str) -> bytes:
        raise ObjectNotFoundError(f"{url} does not exist.")

    def read_into(self, url: str, out: memoryview, start: int = 0) -> int:
        assert url == URL
        data = self.buffer.numpy().tobytes()[start : start + len(out)]
        out[: len(data)] = data
        return len(data)


@pytest.fixture
def trainer() -> Trainer:
    return Trainer()


@pytest.fixture
def fetcher(trainer: Trainer) -> VersionFetcher:
    copies = HostCopies(lambda _: False, lambda _: None)
    return VersionFetcher({NIXL: trainer}, copies, lambda: trainer)


@pytest.mark.parametrize(
    ("nixl", "stored", "cut", "transport", "why"),
    [
        (True, True, False, NIXL, ""),
        (True, False, False, NIXL, ""),
        (False, True, False, OBJECT_STORE, ""),
        (True, True, True, OBJECT_STORE, "packets are dropped"),
    ],
)
def test_what_answers_is_taken_and_why_is_said(
    trainer: Trainer,
    fetcher: VersionFetcher,
    nixl: bool,
    stored: bool,
    cut: bool,
    transport: str,
    why: str,
) -> None:
    """Without an address the store is no second choice, so there is nothing to say."""
    trainer.cut = cut
    version = trainer.version(nixl=nixl, stored=stored)
    fetched = fetcher.fetch(version, reads_of(version, NEEDED))
    assert fetched.transport == transport
    assert bool(fetched.unreachable) == bool(why)
    assert why in fetched.unreachable
    assert torch.equal(manifest.view(trainer.blocks[0], fetched.buffers[0]), TENSORS["a"])


def test_a_version_that_only_an_unreachable_trainer_has_is_an_error_with_the_reason(
    trainer: Trainer, fetcher: VersionFetcher
) -> None:
    trainer.cut = True
    version = trainer.version(nixl=True, stored=False)
    with pytest.raises(FetchError, match="packets are dropped") as caught:
        fetcher.fetch(version, reads_of(version, NEEDED))
    (failed,) = caught.value.failed
    assert (failed.transport, failed.name) == (NIXL, "trainer-1")
    assert failed.cause is FetchCause.UNREACHABLE


@pytest.mark.parametrize("stored", [True, False])
def test_a_source_that_has_gone_on_to_newer_versions_is_not_out_of_reach(
    trainer: Trainer, fetcher: VersionFetcher, stored: bool
) -> None:
    """This version comes from the store, if it is there; the next is read from the trainer."""
    trainer.overwritten = True
    version = trainer.version(nixl=True, stored=stored)
    if stored:
        fetched = fetcher.fetch(version, reads_of(version, NEEDED))
        assert (fetched.transport, fetched.unreachable) == (OBJECT_STORE, "")
        failed = fetched.failed
    else:
        with pytest.raises(FetchError, match="wrong checksums") as caught:
            fetcher.fetch(version, reads_of(version, NEEDED))
        failed = caught.value.failed
    assert [one.cause for one in failed] == [FetchCause.DAMAGED]
    assert fetcher.unreachable == ""
    trainer.overwritten = False
    assert fetcher.fetch(version, reads_of(version, NEEDED)).transport == NIXL


def test_an_unreachable_network_is_not_tried_for_each_version(
    trainer: Trainer, fetcher: VersionFetcher
) -> None:
    """Each try costs a time-out; the reason stays known, and after some versions it is tried."""
    trainer.cut = True
    version = trainer.version(nixl=True, stored=True)
    for _ in range(TRY_AGAIN_AFTER + 1):
        fetched = fetcher.fetch(version, reads_of(version, NEEDED))
        assert "packets are dropped" in fetched.unreachable
    assert trainer.tried == 1
    trainer.cut = False
    fetched = fetcher.fetch(version, reads_of(version, NEEDED))
    assert (fetched.transport, fetched.unreachable, trainer.tried) == (NIXL, "", 2)


def test_a_new_trainer_is_tried_at_once(trainer: Trainer, fetcher: VersionFetcher) -> None:
    trainer.cut = True
    version = trainer.version(nixl=True, stored=True)
    fetcher.fetch(version, reads_of(version, NEEDED))
    trainer.cut = False
    other = trainer.version(nixl=True, stored=True, agent="trainer-2")
    assert fetcher.fetch(other, reads_of(other, NEEDED)).transport == NIXL


def test_the_choice_counts_versions_and_forgets_once_it_works() -> None:
    choice, agents = NetworkChoice(), frozenset({"a", "b"})
    assert choice.is_worth(agents)
    choice.failed(agents, "why")
    tries = [choice.is_worth(agents) for _ in range(TRY_AGAIN_AFTER + 1)]
    assert tries == [False] * TRY_AGAIN_AFTER + [True]
    choice.failed(agents, "why")
    assert choice.is_worth(frozenset({"a", "c"}))
    choice.failed(frozenset({"a", "c"}), "why")
    # One peer and then the other: both are known to fail.
    assert not choice.is_worth(agents)
    assert not choice.is_worth(frozenset({"a", "c"}))
    choice.worked()
    assert choice.reason == ""
    assert choice.is_worth(agents)
