"""A version's blocks are fetched by the first transport that brings the right bytes, or not."""

from collections.abc import Callable, Sequence

import pytest
import torch

from sea_runtime.parallel.regions import Region, Run, cut
from sea_runtime.rollout.vllm_plugin.fetch import Fetcher, FetchError, NixlReader
from sea_runtime.rollout.vllm_plugin.recorder import Copy, Recording
from sea_runtime.rollout.vllm_plugin.staged_tensors import StagedTensors
from sea_runtime.rollout.vllm_plugin.staging import Staging
from sea_runtime.transport import layouts, manifest
from sea_runtime.transport.read_plan import IncompleteVersionError, ShardRead, reads_of
from sea_runtime.transport.sources import NIXL, OBJECT_STORE, Source
from sea_runtime.wire.weights import PrefetchState, Shard, WeightVersion
from sea_testing.waiting import wait_for

TENSORS = {"a": torch.arange(40, dtype=torch.float32).view(4, 10), "b": torch.ones(3)}
NEEDED = {name: [Region.whole(tensor.shape)] for name, tensor in TENSORS.items()}


class Bytes:
    """A reader of fixed bytes; None: its source is gone."""

    def __init__(self, content: torch.Tensor | None) -> None:
        self.content = content

    def begin(self, source: Source, runs: Sequence[Run], out: torch.Tensor) -> Callable[[], None]:
        def finish() -> None:
            if self.content is None:
                raise ConnectionError("gone")
            for run in runs:
                piece = self.content[run.remote : run.remote + run.nbytes]
                out[run.local : run.local + run.nbytes] = piece

        return finish


def packed(nixl: bool = True, url: bool = True) -> tuple[WeightVersion, torch.Tensor]:
    """A version of one shard, whose `a` is stored as two blocks of columns, and its bytes."""
    blocks = manifest.plan(
        TENSORS, lambda _, shape: cut(shape, 1, [6]) if len(shape) == 2 else [Region.whole(shape)]
    )
    buffer = manifest.allocate(manifest.total_bytes(blocks))
    shard = Shard(
        rank=0,
        nbytes=buffer.numel(),
        blocks=manifest.pack(blocks, TENSORS.items(), buffer),
        nixl_agent="a" if nixl else None,
        nixl_metadata="m" if nixl else None,
        nixl_address=1 if nixl else None,
        object_url="s3://b/k" if url else None,
    )
    return version_of(shard), buffer


def version_of(*shards: Shard) -> WeightVersion:
    return WeightVersion(
        stream="policy", version=1, attempt=1, stage="rl", step=1, shards=list(shards)
    )


def damaged(buffer: torch.Tensor) -> torch.Tensor:
    copy = buffer.clone()
    copy[5] ^= 1
    return copy


def memory(read: ShardRead) -> torch.Tensor:
    return manifest.allocate(read.nbytes)


@pytest.mark.parametrize(
    ("nixl", "stored", "expected"),
    [("right", "right", NIXL), ("damaged", "right", OBJECT_STORE), ("gone", "right", OBJECT_STORE)],
)
def test_falls_back_to_the_object_store(nixl: str, stored: str, expected: str) -> None:
    """Also if the trainer overwrote its buffer during the read."""
    version, buffer = packed()
    contents = {"right": buffer, "damaged": damaged(buffer), "gone": None}
    readers = {NIXL: Bytes(contents[nixl]), OBJECT_STORE: Bytes(contents[stored])}
    reads = reads_of(version, NEEDED)
    fetched = Fetcher(readers, memory).fetch(version, reads)
    assert fetched.transport == expected
    staged = StagedTensors(reads, fetched.buffers)
    for name, tensor in TENSORS.items():
        assert torch.equal(staged.get(name, Region.whole(tensor.shape)), tensor)


@pytest.mark.parametrize(
    ("nixl", "url", "words"),
    [(True, False, "wrong checksums, the first of a"), (False, False, "no transport offered")],
)
def test_without_a_working_transport_the_error_says_why(nixl: bool, url: bool, words: str) -> None:
    version, buffer = packed(nixl, url)
    fetcher = Fetcher({NIXL: Bytes(damaged(buffer))}, memory)
    with pytest.raises(FetchError, match=words):
        fetcher.fetch(version, reads_of(version, NEEDED))


def test_a_worker_fetches_only_the_blocks_that_it_needs() -> None:
    """Columns 6 to 9 of `a` are one block; damage elsewhere doesn't concern it."""
    version, buffer = packed()
    region = Region((0, 6), (4, 4))
    reads = reads_of(version, {"a": [region]})
    assert [block.start for block in reads[0].blocks] == [[0, 6]]
    assert reads[0].nbytes == 4 * 4 * 4
    fetched = Fetcher({NIXL: Bytes(damaged(buffer))}, memory).fetch(version, reads)
    staged = StagedTensors(reads, fetched.buffers)
    assert torch.equal(staged.get("a", region), TENSORS["a"][:, 6:])


@pytest.mark.parametrize(
    "region", [Region((1, 2), (2, 7)), Region((0, 0), (4, 3)), Region((3, 6), (1, 1))]
)
def test_an_engine_that_cuts_elsewhere_gets_its_region_too(region: Region) -> None:
    """Put together of two blocks, or a part of one."""
    version, buffer = packed()
    reads = reads_of(version, {"a": [region]})
    fetched = Fetcher({NIXL: Bytes(buffer)}, memory).fetch(version, reads)
    rows, columns = region.within(Region.whole((4, 10)))
    staged = StagedTensors(reads, fetched.buffers)
    assert torch.equal(staged.get("a", region), TENSORS["a"][rows, columns])


def test_each_worker_begins_with_another_shard_and_reads_all_at_once() -> None:
    """Else the workers of all engines would wait for the first trainer rank together."""
    parts = []
    for rank in range(3):
        version, buffer = packed(url=False)
        blocks = [
            block.model_copy(update={"name": f"{block.name}{rank}"})
            for block in version.shards[0].blocks
        ]
        update = {"rank": rank, "blocks": blocks, "nixl_agent": f"rank {rank}"}
        parts.append(version.shards[0].model_copy(update=update))
    reads = reads_of(version_of(*parts), {f"a{rank}": [Region.whole((4, 10))] for rank in range(3)})
    journal: list[str] = []

    class Noting(Bytes):
        def begin(
            self, source: Source, runs: Sequence[Run], out: torch.Tensor
        ) -> Callable[[], None]:
            journal.append(source.name)
            finish = super().begin(source, runs, out)

            def ended() -> None:
                journal.append("waits")
                finish()

            return ended

    for turn, first in ((0, 0), (1, 1), (5, 2)):
        journal.clear()
        fetched = Fetcher({NIXL: Noting(buffer)}, memory, turn).fetch(version_of(*parts), reads)
        order = [f"rank {(first + one) % 3}" for one in range(3)]
        assert journal == [*order, "waits", "waits", "waits"]
        assert sorted(fetched.buffers) == [0, 1, 2]


@pytest.mark.parametrize("needed", [{"c": [Region((0,), (3,))]}, {"b": [Region((0,), (4,))]}])
def test_a_version_without_something_needed_names_it(needed: dict[str, list[Region]]) -> None:
    """A trainer of another model, or of another vocabulary."""
    version, _ = packed()
    with pytest.raises(IncompleteVersionError, match=f"all of {next(iter(needed))}"):
        reads_of(version, needed)


def recorded() -> Recording:
    """Everything, as one layer's parameters."""
    copies = tuple(
        Copy(name, 0, tuple(tensor.shape), tensor.stride(), name, Region.whole(tensor.shape))
        for name, tensor in TENSORS.items()
    )
    return Recording(((torch.nn.Identity(), copies),))


def test_a_version_without_sums_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """An anchor of an older release: an engine that started from it would restart for ever."""
    version, buffer = packed(url=False)
    content, recording = Bytes(buffer), recorded()
    monkeypatch.setattr(NixlReader, "begin", lambda _, *read: content.begin(*read))
    blocks = [block.model_copy(update={"weighted_sum": 0}) for block in version.shards[0].blocks]
    old = version_of(version.shards[0].model_copy(update={"blocks": blocks}))
    worker = Staging()
    for sent, check in ((old, False), (version, True)):
        worker.prefetch(sent, lambda _: recording)
        wait_for("the fetch", lambda: worker.status().state is not PrefetchState.RUNNING)
        assert (worker.status().state, worker.status().check) == (PrefetchState.READY, check)


def test_a_worker_keeps_the_layouts_of_two_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the newest and its anchor, which alternate; an older one is asked for again."""
    version, buffer = packed(url=False)
    content, recording, worker = Bytes(buffer), recorded(), Staging()
    monkeypatch.setattr(NixlReader, "begin", lambda _, *read: content.begin(*read))
    compact = layouts.compact(version)
    ((_, layout),) = layouts.layouts_of(version).items()

    def asks(name: str) -> bool:
        shard = compact.shards[0].model_copy(update={"layout": name})
        found = worker.prefetch(version_of(shard), lambda _: recording)
        if found.missing_layouts:
            worker.add_layout(name, layout)
            worker.prefetch(version_of(shard), lambda _: recording)
        wait_for("the fetch", lambda: worker.status().state is not PrefetchState.RUNNING)
        assert worker.status().state is PrefetchState.READY, worker.status().error
        return bool(found.missing_layouts)

    assert [asks(name) for name in ("a", "b", "a", "b", "c", "b", "a")] == [
        *(True, True, False, False, True, False, True)
    ]


def test_a_worker_asks_for_a_layout_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The version after it only names the layout, and is fetched at once."""
    version, buffer = packed(url=False)
    content, recording = Bytes(buffer), recorded()
    monkeypatch.setattr(NixlReader, "begin", lambda _, *read: content.begin(*read))
    worker, compact = Staging(), layouts.compact(version)
    ((digest, layout),) = layouts.layouts_of(version).items()
    found = worker.prefetch(compact, lambda _: recording)
    assert (found.state, found.missing_layouts) == (PrefetchState.IDLE, [digest])
    worker.add_layout(digest, layout)
    for number in (1, 2):
        sent = compact.model_copy(update={"version": number})
        assert worker.prefetch(sent, lambda _: recording).missing_layouts == []
        wait_for("the fetch", lambda: worker.status().state is not PrefetchState.RUNNING)
        assert worker.status().state is PrefetchState.READY, worker.status().error
        for _, _, joined in worker.layers(number, 1):
            for one in joined:
                assert torch.equal(one.source, TENSORS[one.parameter])
