"""A version from the object store: a chain of deltas on what is held, or the anchor."""

import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch

from sea_data.object_store import AccessDeniedError, ObjectNotFoundError, StoreUnavailableError
from sea_runtime.parallel.regions import Region, cut
from sea_runtime.rollout.vllm_plugin.delta_fetch import DeltaFetcher, spans
from sea_runtime.rollout.vllm_plugin.fetch import FetchError
from sea_runtime.rollout.vllm_plugin.host_copies import HostCopies, HostCopy
from sea_runtime.rollout.vllm_plugin.store_reader import MAX_GAP
from sea_runtime.trainer.delta_upload import Packed, encode
from sea_runtime.transport import delta_codec, manifest, stored_versions
from sea_runtime.transport.delta_codec import Bytes, DamagedDeltaError
from sea_runtime.transport.read_plan import ShardRead, reads_of
from sea_runtime.transport.sources import DELTA, OBJECT_STORE
from sea_runtime.wire.weights import FetchCause, Shard, ShardDelta, WeightVersion
from sea_testing.waiting import HANG_S

RUN = "s3://runs/job-1"
WHERE = (RUN, "policy")
SHAPES = {"a": (64, 40), "b": (300,), "model.down_proj": (16, 96)}
Tensors = dict[str, torch.Tensor]


class Trainer:
    """Two ranks that publish every version to a store which is a dictionary."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.asked: list[str] = []
        generator = torch.Generator().manual_seed(2)
        self.tensors: Tensors = {
            name: torch.randn(shape, generator=generator).bfloat16()
            for name, shape in SHAPES.items()
        }
        self.plans = [
            manifest.plan({name: self.tensors[name] for name in names}, self._cut)
            for names in (("a", "b"), ("model.down_proj",))
        ]
        self.versions: dict[int, WeightVersion] = {}
        self.published: dict[int, Tensors] = {}
        self._packed: dict[tuple[int, int], Packed] = {}

    @staticmethod
    def _cut(name: str, shape: object) -> list[Region]:
        whole = SHAPES[name]
        return cut(whole, 1, [whole[1] // 2]) if len(whole) == 2 else [Region.whole(whole)]

    def publish(self, number: int, *, full: bool = False, base: int | None = None) -> WeightVersion:
        """A training step; a delta for `base`, all bytes, or both."""
        for tensor in self.tensors.values():
            noise = torch.rand(tensor.shape, generator=torch.Generator().manual_seed(number))
            tensor += torch.where(noise > 0.9, 0.01, 0.0).bfloat16()
        self.published[number] = {name: one.clone() for name, one in self.tensors.items()}
        shards = [self._shard(rank, number, full, base) for rank in range(len(self.plans))]
        version = WeightVersion(
            stream="policy",
            version=number,
            attempt=1,
            stage="rl",
            step=number,
            shards=shards,
            run_url=RUN,
        )
        self.versions[number] = version
        self.objects[stored_versions.manifest_url(*WHERE, number)] = (
            version.model_dump_json().encode()
        )
        return version

    def _shard(self, rank: int, number: int, full: bool, base: int | None) -> Shard:
        plan = self.plans[rank]
        buffer = manifest.allocate(manifest.total_bytes(plan))
        own = {block.name: self.tensors[block.name] for block in plan}
        blocks = manifest.pack(plan, own.items(), buffer)
        packed = self._packed[rank, number] = Packed(number, 1, 0, blocks, buffer)
        url = delta = None
        if full:
            url = stored_versions.shard_url(*WHERE, number, rank, 1)
            self.objects[url] = buffer.numpy().tobytes()
        if base is not None:
            where = stored_versions.delta_url(*WHERE, number, rank, 1)
            delta, body = encode(self._packed[rank, base], packed, where)
            self.objects[where] = bytes(body)
        return Shard(rank=rank, nbytes=buffer.numel(), blocks=blocks, object_url=url, delta=delta)

    # As `sea_runtime.store.s3.ObjectStore`.
    def get(self, url: str) -> bytes:
        self.asked.append(url.removeprefix(RUN + "/weights/policy/"))
        if url not in self.objects:
            raise ObjectNotFoundError(f"{url} does not exist.")
        return self.objects[url]

    def read_into(self, url: str, out: memoryview, start: int = 0) -> int:
        data = self.get(url)[start : start + len(out)]
        out[: len(data)] = data
        return len(data)


class Worker:
    """One of two workers of an engine: it needs the right half of each matrix."""

    def __init__(self, store: Trainer) -> None:
        self.held: HostCopy | None = None
        self._copies = HostCopies(lambda _: False, lambda _: None)
        self._fetcher = DeltaFetcher(lambda: store, self._copies.target)
        self.needed = {name: [Trainer._cut(name, None)[-1]] for name in SHAPES}

    def bring(self, version: WeightVersion) -> str:
        """Returns the transport."""
        reads = reads_of(version, self.needed)
        fetched = self._fetcher.bring(version, reads, self.held)
        self.held = HostCopy(version.version, version.attempt, tuple(reads), fetched.buffers)
        self._copies.keep(self.held)
        return fetched.transport

    def holds(self, trainer: Trainer, number: int) -> bool:
        assert self.held is not None
        return self.held.version == number and all(
            torch.equal(
                manifest.view(block, self.held.buffers[read.rank], offset),
                trainer.published[number][block.name][
                    manifest.region_of(block).within(Region.whole(block.tensor))
                ],
            )
            for read in self.held.reads
            for block, offset in zip(read.blocks, read.offsets, strict=True)
        )


@pytest.fixture
def trainer() -> Trainer:
    """Versions 1 to 5, of which 1 and 4 are anchors; each but the first has deltas."""
    made = Trainer()
    made.publish(1, full=True)
    for number in (2, 3, 4, 5):
        made.publish(number, full=number == 4, base=number - 1)
    made.asked.clear()
    return made


@pytest.mark.parametrize(
    ("held", "wanted", "transport", "read"),
    [
        (None, 1, OBJECT_STORE, ["v000001/shard-0-a1.bin", "v000001/shard-1-a1.bin"]),
        (1, 2, DELTA, ["v000002/delta-0-a1.bin", "v000002/delta-1-a1.bin"]),
        (3, 4, DELTA, ["v000004/delta-0-a1.bin", "v000004/delta-1-a1.bin"]),
        (None, 4, OBJECT_STORE, ["v000004/shard-0-a1.bin", "v000004/shard-1-a1.bin"]),
    ],
)
def test_the_nearest_way_is_taken(
    trainer: Trainer, held: int | None, wanted: int, transport: str, read: list[str]
) -> None:
    """One request for what a worker needs of each shard; an anchor has a delta as well."""
    worker = Worker(trainer)
    if held is not None:
        worker.bring(trainer.versions[held])
        trainer.asked.clear()
    assert worker.bring(trainer.versions[wanted]) == transport
    assert sorted(set(trainer.asked)) == read
    assert worker.holds(trainer, wanted)


@pytest.mark.parametrize(("held", "transport"), [(None, OBJECT_STORE), (2, DELTA)])
def test_a_chain_is_followed_from_what_is_held_or_from_the_anchor(
    trainer: Trainer, held: int | None, transport: str
) -> None:
    worker = Worker(trainer)
    if held is not None:
        worker.bring(trainer.versions[held])
    assert worker.bring(trainer.versions[5]) == transport
    assert worker.holds(trainer, 5)


def wrong_base(trainer: Trainer, worker: Worker) -> None:
    """The worker holds other bytes under the same number."""
    assert worker.held is not None
    read = worker.held.reads[0]
    worker.held.buffers[read.rank][read.offsets[0]] ^= 1
    blocks = (read.blocks[0].model_copy(update={"checksum": 1}), *read.blocks[1:])
    worker.held = HostCopy(
        worker.held.version,
        worker.held.attempt,
        (ShardRead(read.rank, read.runs, blocks, read.offsets), *worker.held.reads[1:]),
        worker.held.buffers,
    )


def damaged_memory(trainer: Trainer, worker: Worker) -> None:
    """A bit of what is held flipped since it was verified."""
    assert worker.held is not None
    read = worker.held.reads[0]
    worker.held.buffers[read.rank][read.offsets[0]] ^= 1


def another_attempt(trainer: Trainer, worker: Worker) -> None:
    """Its number was published by an attempt that has ended."""
    assert worker.held is not None
    worker.held = HostCopy(5, 7, worker.held.reads, worker.held.buffers)


def change(name: str, edit: Callable[[bytes], bytes | None]) -> Callable[[Trainer, Worker], None]:
    """Edits an object of version 6; None removes it."""

    def apply(trainer: Trainer, _: Worker) -> None:
        url = f"{RUN}/weights/policy/v000006/{name}"
        found = edit(trainer.objects.pop(url))
        if found is not None:
            trainer.objects[url] = found

    return apply


def impossible_size(trainer: Trainer, _: Worker) -> None:
    """The manifest says that a block's delta has a petabyte."""
    delta = trainer.versions[6].shards[0].delta
    assert delta is not None
    delta.sizes[-1] = 1 << 50


DELTA_FAULTS = {
    "manifest with an impossible size": impossible_size,
    "wrong base": wrong_base,
    "damaged memory": damaged_memory,
    "another attempt": another_attempt,
    "delta is missing": change("delta-0-a1.bin", lambda _: None),
    "delta is cut": change("delta-1-a1.bin", lambda body: body[: len(body) // 2]),
    "delta has a wrong byte": change("delta-0-a1.bin", lambda body: body[:90] + b"~" + body[91:]),
    "delta is another's": change("delta-0-a1.bin", lambda body: body[::-1]),
    "an error page with 200": change("delta-0-a1.bin", lambda body: b"<Error/>" * len(body)),
}


@pytest.mark.parametrize("fault", DELTA_FAULTS)
def test_whatever_is_wrong_with_the_deltas_the_anchor_is_taken(fault: str) -> None:
    trainer = Trainer()
    trainer.publish(5, full=True)
    version = trainer.publish(6, full=True, base=5)
    worker = Worker(trainer)
    worker.bring(trainer.versions[5])
    DELTA_FAULTS[fault](trainer, worker)
    assert worker.bring(version) == OBJECT_STORE
    assert worker.holds(trainer, 6)


def test_an_anchor_is_read_once_no_delta_writes_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """One block's delta is damaged while another's is being applied, into the same memory."""
    trainer = Trainer()
    trainer.publish(5, full=True)
    version = trainer.publish(6, full=True, base=5)
    worker = Worker(trainer)
    worker.bring(trainer.versions[5])
    small, anchored, wrote = 2 * SHAPES["b"][0], threading.Event(), threading.Event()

    def apply(_: object, base: Bytes, out: Bytes, __: int) -> None:
        if base.nbytes != small:
            raise DamagedDeltaError("damaged")
        anchored.wait(0.3)  # until the anchor is read, if nobody waits for this block
        out[:] = 7
        wrote.set()

    def read_into(url: str, out: memoryview, start: int = 0) -> int:
        done = Trainer.read_into(trainer, url, out, start)
        if "shard-1" in url:
            anchored.set()
        return done

    monkeypatch.setattr(delta_codec, "apply", apply)
    monkeypatch.setattr(trainer, "read_into", read_into)
    assert worker.bring(version) == OBJECT_STORE
    assert wrote.wait(HANG_S)
    assert worker.holds(trainer, 6)


def manifest_edit(edit: Callable[[bytes], bytes | None]) -> Callable[[Trainer, Worker], None]:
    return change("registry.json", edit)


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("does not exist", manifest_edit(lambda _: None)),
        ("is no manifest", manifest_edit(lambda body: body[:-20])),
        ("is no manifest", manifest_edit(lambda _: b"[]")),
        (
            "has the format 2",
            manifest_edit(lambda body: body.replace(b'"format":1', b'"format":2')),
        ),
        ("copied from another run", manifest_edit(lambda body: body.replace(b"job-1", b"job-2"))),
        ("copied from another", manifest_edit(lambda b: b.replace(b'"version":6', b'"version":4'))),
        ("of attempt 3", manifest_edit(lambda b: b.replace(b'"attempt":1', b'"attempt":3', 1))),
        (
            "cut into other blocks",
            manifest_edit(lambda body: body.replace(b'"name":"b"', b'"name":"c"')),
        ),
    ],
)
def test_a_chain_with_a_bad_manifest_is_left_with_its_reason(
    words: str, fault: Callable[[Trainer, Worker], None]
) -> None:
    """Version 7 is a delta on 6, whose manifest is bad; no anchor is newer than it."""
    trainer = Trainer()
    trainer.publish(5, full=True)
    trainer.publish(6, base=5)
    version = trainer.publish(7, base=6)
    worker = Worker(trainer)
    worker.bring(trainer.versions[5])
    before = worker.held
    fault(trainer, worker)
    with pytest.raises(FetchError, match=words):
        worker.bring(version)
    assert worker.held is before
    assert worker.holds(trainer, 5), "what is held is as it was"
    # An anchor after it ends the trouble.
    assert worker.bring(trainer.publish(8, full=True)) == OBJECT_STORE


@pytest.mark.parametrize(
    "error", [StoreUnavailableError("S3 is away."), AccessDeniedError("S3 refuses.")]
)
def test_a_store_that_is_away_or_refuses_is_a_reason(
    trainer: Trainer, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> int:
        raise error

    worker = Worker(trainer)
    worker.bring(trainer.versions[1])
    monkeypatch.setattr(trainer, "read_into", fail)
    with pytest.raises(FetchError, match="S3 "):
        worker.bring(trainer.versions[2])
    assert worker.holds(trainer, 1)


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (StoreUnavailableError("S3 is away."), FetchCause.UNREACHABLE),
        (None, FetchCause.DAMAGED),
    ],
)
def test_a_store_that_doesnt_give_a_manifest_is_out_of_reach_not_damaged(
    fault: Exception | None, cause: FetchCause, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer()
    trainer.publish(5, full=True)
    trainer.publish(6, base=5)
    version = trainer.publish(7, base=6)

    def get(_: str) -> bytes:
        if fault:
            raise fault
        return b"[]"

    monkeypatch.setattr(trainer, "get", get)
    with pytest.raises(FetchError) as caught:
        Worker(trainer).bring(version)
    assert [failed.cause for failed in caught.value.failed] == [cause]


@pytest.mark.parametrize("edit", [lambda b: b[:-70], lambda b: b[:-9] + b"!" + b[-8:]])
def test_an_anchor_with_wrong_bytes_is_refused(
    trainer: Trainer, edit: Callable[[bytes], bytes]
) -> None:
    """A lying store: a short body, wrong bytes."""
    for url in list(trainer.objects):
        if url.endswith("shard-0-a1.bin"):
            trainer.objects[url] = edit(trainer.objects[url])
    with pytest.raises(FetchError, match=r"shard-0-a1\.bin"):
        Worker(trainer).bring(trainer.versions[4])


def test_one_workers_deltas_are_read_in_one_request() -> None:
    """Next to each other in the object, and over small gaps; far ones are asked for separately."""
    delta = ShardDelta(
        url="u",
        base_version=1,
        base_attempt=1,
        offsets=[0, 10, 100, 100 + MAX_GAP * 2],
        sizes=[10, 20, 50, 5],
    )
    assert list(spans(delta, [0, 1])) == [(0, 30, [0, 1])]
    assert list(spans(delta, [2, 0])) == [(0, 150, [0, 2])]
    far = 100 + MAX_GAP * 2
    assert list(spans(delta, [1, 3])) == [(10, 30, [1]), (far, far + 5, [3])]
    assert list(spans(delta, [])) == []


def test_half_of_the_deltas_is_what_one_of_two_workers_reads(trainer: Trainer) -> None:
    """The object is in the order of workers, not of tensors."""
    worker = Worker(trainer)
    worker.bring(trainer.versions[1])
    delta = trainer.versions[2].shards[0].delta
    assert delta is not None
    reads = reads_of(trainer.versions[2], worker.needed)
    shard = trainer.versions[2].shards[0]
    wanted = [shard.blocks.index(block) for block in reads[0].blocks]
    whole = {shard.blocks.index(block) for block in shard.blocks if block.shape == block.tensor}
    ends = sorted((delta.offsets[one], delta.sizes[one]) for one in wanted if one not in whole)
    assert np.diff([at for at, _ in ends]).tolist() == [size for _, size in ends[:-1]]
