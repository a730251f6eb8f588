"""A shard's copy in the object store: few requests, and every byte where the worker wants it."""

import pytest
import torch

from sea_runtime.parallel.regions import Run
from sea_runtime.rollout.vllm_plugin.store_reader import (
    MAX_GAP,
    MAX_REQUEST,
    ObjectStoreReader,
    requests,
)
from sea_runtime.transport.sources import OBJECT_STORE, Source

URL = "s3://runs/job/weights/policy/v000001/shard-0.bin"


class Store:
    """One object; counts the requests."""

    def __init__(self, nbytes: int) -> None:
        self.content = torch.randint(0, 256, (nbytes,), dtype=torch.uint8)
        self.asked: list[tuple[int, int]] = []

    def get(self, url: str) -> bytes:
        raise AssertionError(url)

    def read_into(self, url: str, out: memoryview, start: int = 0) -> int:
        assert url == URL
        data = self.content[start : start + len(out)].numpy().tobytes()
        out[: len(data)] = data
        self.asked.append((start, len(out)))
        return len(data)


def read(store: Store, runs: list[Run], nbytes: int) -> torch.Tensor:
    out = torch.zeros(nbytes, dtype=torch.uint8)
    ObjectStoreReader(lambda: store).begin(Source(OBJECT_STORE, URL, ()), runs, out)()
    return out


def test_what_is_adjacent_in_the_object_is_one_request() -> None:
    """Gate, up and down of two experts, which two parameters of the worker hold."""
    store = Store(600)
    places = [0, 100, 400, 200, 300, 500]
    out = read(store, [Run(100 * at, place, 100) for at, place in enumerate(places)], 600)
    assert store.asked == [(0, 600)]
    for at, place in enumerate(places):
        assert torch.equal(out[place : place + 100], store.content[100 * at : 100 * at + 100])


GROUPS = [
    ("a small gap is read along", [(0, 10), (10 + MAX_GAP, 10)], 1),
    ("a larger one is not", [(0, 10), (11 + MAX_GAP, 10)], 2),
    ("a request has a limit", [(0, MAX_REQUEST), (MAX_REQUEST, 1)], 2),
    ("one run may exceed it", [(0, 2 * MAX_REQUEST)], 1),
]


@pytest.mark.parametrize(("_", "spans", "count"), GROUPS, ids=[row[0] for row in GROUPS])
def test_runs_are_grouped_by_their_place_in_the_object(
    _: str, spans: list[tuple[int, int]], count: int
) -> None:
    runs = [Run(at, 0, nbytes) for at, nbytes in spans]
    found = list(requests(runs))
    assert len(found) == count
    assert [run for group in found for run in group] == runs


def test_an_object_that_is_too_short_is_an_error_with_its_length() -> None:
    with pytest.raises(OSError, match=r"has 150 bytes, expected at least 200"):
        read(Store(150), [Run(0, 100, 100), Run(100, 0, 100)], 200)
