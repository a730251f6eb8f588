"""What all ranks wait for while the object store is away: repeated, with sentences, for a while."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sea_data.object_store import StoreUnavailableError
from sea_runtime.client.calls import CoordinatorUnreachableError
from sea_runtime.trainer import background
from sea_runtime.trainer.checkpoint.commit import Commits
from sea_testing.checkpoints import commit, restored
from sea_testing.coordinator.memory_store import MemoryStore

RUN = "s3://runs/outages"


def failing(times: int, error: type[Exception] = StoreUnavailableError) -> Callable[[], str]:
    left = iter(range(times))

    def call() -> str:
        if next(left, None) is not None:
            raise error("GET x: no answer.")
        return "found"

    return call


def test_a_call_is_repeated_until_the_store_is_back() -> None:
    notes: list[str] = []
    found = background.through_outages("The restore", failing(2), note=notes.append)
    assert found == "found"
    assert notes == ["The restore waits for the object store: GET x: no answer."] * 2


@pytest.mark.parametrize(
    ("error", "awaited"),
    [
        (StoreUnavailableError, "the object store"),
        (CoordinatorUnreachableError, "the coordinator"),
    ],
)
def test_after_half_an_hour_the_attempt_ends_with_a_sentence(error: Any, awaited: str) -> None:
    """Its processes hold GPUs meanwhile, and nothing says that the store will be back."""
    minutes: Iterator[int] = iter(range(100))
    said = f"The restore has waited 31 minutes for {awaited}: GET x"
    with pytest.raises(error, match=said) as caught:
        background.through_outages(
            "The restore", failing(1000, error), note=str, clock=lambda: 60.0 * next(minutes)
        )
    assert not caught.value.permanent


class Flaky(MemoryStore):
    """Doesn't answer the first call of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.calm = True
        self.failed: set[str] = set()

    def _fail(self, what: str) -> None:
        if not self.calm and what not in self.failed:
            self.failed.add(what)
            raise StoreUnavailableError(f"{what}: no answer.")

    def get(self, url: str) -> bytes:
        name = url.rpartition("/")[2]
        if name in ("head.json", "manifest.json"):
            self._fail(f"GET {name}")
        return super().get(url)

    def read_into(self, url: str, out: memoryview, start: int) -> int:
        body = self.objects[url][start : start + len(out)]
        out[: len(body)] = body
        return len(body)

    def put_if(self, url: str, body: bytes, etag: str | None) -> str:
        self._fail("PUT")
        return super().put_if(url, body, etag)

    def size(self, url: str) -> int | None:
        self._fail("HEAD")
        return super().size(url)


def test_an_attempt_outlasts_an_outage_at_any_moment_of_its_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It takes the stage over, reads the manifest, looks at sizes, sets a damaged one aside."""
    monkeypatch.setattr(background, "POLL_SECONDS", 0.01)
    monkeypatch.setattr("sea_runtime.trainer.checkpoint.commit.clean_up", lambda *_: None)
    store: Any = Flaky()
    first = Commits(store, RUN, "stage", 1)
    for step in (1, 2):
        commit(store, first, step)
    store.objects[f"{first.step_folder(2)}/manifest.json"] = b"{"
    store.calm = False
    found = restored(Commits(store, RUN, "stage", 2))
    assert found is not None
    assert found.step == 1
    assert store.failed >= {"GET head.json", "GET manifest.json", "PUT", "HEAD"}
    head, _ = first.read()
    assert ([one.step for one in head.checkpoints], head.attempt) == ([1], 2)
    assert [one.step for one in head.damaged] == [2]
