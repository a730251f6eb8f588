"""A restoring rank reads the ranges that it needs, and notices every byte that isn't what was
saved."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sea_api.v1alpha1.roles import TrainerParallelism
from sea_runtime.parallel import hf_config, parallel_layout
from sea_runtime.parallel.parallel_layout import ParallelLayout, Place
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.trainer.checkpoint import export, index, reader
from sea_runtime.trainer.checkpoint.commit import Commits
from sea_runtime.trainer.checkpoint.head import Manifest, SavedLayout, index_name, state_name
from sea_runtime.trainer.checkpoint.index import KINDS, RankIndex, checksums, sections
from sea_runtime.trainer.checkpoint.reader import CheckpointReader
from sea_runtime.trainer.checkpoint.reshard import Copy
from sea_runtime.trainer.errors import CheckpointError
from sea_runtime.wire.checkpoints import FORMAT, StoredObject
from sea_testing import layout_state
from sea_testing.waiting import HANG_S

pytestmark = pytest.mark.component
PIECE = 1 << 16
SHAPE = hf_config.parse(
    json.dumps(
        {
            "architectures": ["Qwen3MoeForCausalLM"],
            "num_hidden_layers": 2,
            "hidden_size": 256,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 64,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 256,
            "vocab_size": 4001,
            "tie_word_embeddings": False,
        }
    )
)
BEFORE = parallel_layout.plan(TrainerParallelism(tensor=2, pipeline=2, expert=2), SHAPE, 4)
SAME = BEFORE
AFTER = [
    parallel_layout.plan(TrainerParallelism(expert=2), SHAPE, 2),
    parallel_layout.plan(TrainerParallelism(pipeline=2, expert=4), SHAPE, 8),
    SAME,
]


class Counting(ObjectStore):
    """Counts the bytes that are asked for."""

    read = 0

    def read_into(self, url: str, out: memoryview, start: int = 0) -> int:
        self.read += len(out)
        return super().read_into(url, out, start)


@pytest.fixture(scope="module", autouse=True)
def small_pieces() -> Iterator[None]:
    """A thousandth of the usual model, a sixteenth of the usual pieces."""
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in ((index, "PIECE"), (reader, "PIECE"), (reader, "MAX_GAP")):
            patch.setattr(owner, name, PIECE)
        yield


@pytest.fixture(scope="module")
def commits(s3: object) -> Commits:
    return Commits(Counting(retry_timeout=HANG_S), "s3://runs/reader", "stage", 1)


def store_of(commits: Commits) -> Counting:
    assert isinstance(commits.store, Counting)
    return commits.store


@pytest.fixture(scope="module")
def manifest(commits: Commits) -> Manifest:
    """Saved by the ranks of `BEFORE`: moments are 2 and 3 times the parameters."""
    objects = [one for place in BEFORE.places for one in save(commits, place)]
    return Manifest(
        format=FORMAT,
        stage="stage",
        step=1,
        attempt=1,
        stream="policy",
        version=1,
        world_size=BEFORE.world_size,
        layout=SavedLayout.of(BEFORE),
        finished=False,
        objects=objects,
        ledger=None,
        time=0.0,
    )


def save(commits: Commits, place: Place) -> Sequence[StoredObject]:
    elements = layout_state.section(SHAPE, place)
    found, nbytes = sections([(kind, "float32") for kind in KINDS], len(elements))
    data = np.zeros(nbytes, np.uint8)
    for factor, one in enumerate(found, start=1):
        own = data[one.offset : one.offset + elements.nbytes]
        own[:] = (elements * factor).view(np.uint8)
    described = RankIndex(
        rank=place.rank,
        runs=layout_state.runs_of(SHAPE, place),
        sections=found,
        nbytes=nbytes,
        pieces=list(checksums(data.data)),
        optimizer_step=1,
        rng="",
    )
    body, folder = described.model_dump_json().encode(), commits.step_folder(1)
    data_url, index_url = f"{folder}/{state_name(place.rank)}", f"{folder}/{index_name(place.rank)}"
    commits.store.put_large(data_url, data.data, nbytes)
    commits.store.put(index_url, body)
    digest = hashlib.sha256(body).hexdigest()
    return [
        StoredObject(
            key=commits.key(data_url), name=state_name(place.rank), size=nbytes, sha256=""
        ),
        StoredObject(
            key=commits.key(index_url), name=index_name(place.rank), size=len(body), sha256=digest
        ),
    ]


Memory = dict[str, dict[str, np.ndarray]]


def restored(commits: Commits, manifest: Manifest, place: Place) -> Memory:
    memory = {
        run.parameter: {kind: np.zeros(run.elements, np.float32) for kind in KINDS}
        for run in layout_state.runs_of(SHAPE, place)
    }

    def put(copy: Copy, kind: str, values: np.ndarray) -> None:
        whole = memory[copy.target][kind]
        for row in range(copy.rows):
            at = copy.target_offset + row * copy.target_stride
            whole[at : at + copy.columns] = values[row]

    source = CheckpointReader(commits, manifest, SHAPE)
    source.read(list(layout_state.wanted_by(SHAPE, place)), KINDS, put, prefer=place.rank)
    return memory


@pytest.mark.parametrize("layout", AFTER, ids=str)
def test_a_rank_reads_little_more_than_its_share(
    commits: Commits, manifest: Manifest, layout: ParallelLayout
) -> None:
    """What it needs is rounded up to pieces, each of which has a checksum."""
    for place in layout.places:
        before = store_of(commits).read
        memory = restored(commits, manifest, place)
        runs = layout_state.runs_of(SHAPE, place)
        for run in runs:
            wanted = layout_state.held(SHAPE, place, run)
            for factor, kind in enumerate(KINDS, start=1):
                assert (memory[run.parameter][kind] == factor * wanted).all()
        read, share = store_of(commits).read - before, sum(12 * run.elements for run in runs)
        assert read < (share + PIECE if layout is SAME else 1.3 * share)


@pytest.mark.parametrize("damage", ["changed", "truncated", "index"])
def test_a_byte_that_was_not_saved_is_noticed(
    commits: Commits, manifest: Manifest, damage: str, tmp_path: Path
) -> None:
    name = index_name(1) if damage == "index" else state_name(1)
    stored = next(one for one in manifest.objects if one.name == name)
    url = commits.url(stored.key)
    whole = bytearray(commits.store.get(url))
    broken = bytearray(whole)
    broken[len(broken) // 2] ^= 1
    try:
        commits.store.put(url, bytes(broken[:-9] if damage == "truncated" else broken))
        with pytest.raises(CheckpointError, match=f"{name} differs from what"):
            restored(commits, manifest, SAME.place(1))
        if damage != "index":  # which every rank reads
            restored(commits, manifest, SAME.place(0))
    finally:
        commits.store.put(url, bytes(whole))


@pytest.mark.parametrize(
    ("precision", "dtype"), [("FP32", torch.float32), ("BF16", torch.bfloat16)]
)
def test_weights_are_exported_file_by_file(
    commits: Commits, manifest: Manifest, precision: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    """As many files as a limit asks for; weights are rounded as torch rounds them."""
    source, limit = CheckpointReader(commits, manifest, SHAPE), 3 << 20
    found: dict[str, torch.Tensor] = {}
    for one in export.write(source, SHAPE, precision, tmp_path, limit):
        assert list(tmp_path.iterdir()) == [one.file], "nothing of another file is kept"
        tensors = load_file(one.file)
        assert one.file.stat().st_size < limit + 4096 or len(tensors) == 1
        found |= tensors
        one.file.unlink()
    assert one.count == one.number > 2
    assert export.index(SHAPE, precision, limit)["weight_map"].keys() == found.keys()
    wanted = layout_state.tensors(SHAPE)
    assert found.keys() == wanted.keys()
    for name, tensor in found.items():
        assert torch.equal(tensor, torch.from_numpy(wanted[name]).to(dtype)), name


def test_ties_are_rounded_to_even() -> None:
    values = np.array([1.0, 1.00390625, 1.01171875, -0.1, 3e38, 1e-40, 0.0], np.float32)
    wanted = torch.from_numpy(values).to(torch.bfloat16).view(torch.uint16).numpy()
    assert (export.rounded(values) == wanted).all()
