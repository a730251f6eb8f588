"""The journal's copy in a real S3 server: uploads, restores, and competing writers."""

import itertools
import random
from contextlib import closing
from pathlib import Path

import pytest

from sea_data.object_store import ChecksumMismatchError, StoreUnavailableError
from sea_data.synthesis import journal_archive
from sea_data.synthesis.journal import Journal, JournalTakenError
from sea_data.synthesis.journal_archive import JournalArchive, JournalUploader
from sea_runtime.store.s3 import ObjectStore
from sea_testing.waiting import wait_for

pytestmark = pytest.mark.component


@pytest.fixture
def url(request: pytest.FixtureRequest) -> str:
    return f"s3://runs/{request.node.name}"


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_archive, "PART_BYTES", 1000)


def add(journal: Journal, first: int, count: int) -> None:
    for number in range(first, first + count):
        journal.append({"event": "item", "item": number, "text": "x" * 80})


def objects(store: ObjectStore, url: str) -> list[str]:
    return [item.url.removeprefix(url + "/") for item in store.list(url + "/parts/")]


@pytest.mark.usefixtures("small_parts")
def test_a_lost_journal_comes_back_byte_by_byte(
    store: ObjectStore, url: str, tmp_path: Path
) -> None:
    rng, number = random.Random(3), 0
    with closing(Journal(tmp_path / "a")) as journal:
        kept = JournalArchive(store, url)
        assert not kept.restore(journal)
        for _ in range(12):
            add(journal, number, count := rng.randint(1, 14))
            number += count
            kept.extend(journal.path)
        body = journal.path.read_bytes()
        assert kept.size == len(body)
    # Parts are neither one a call nor one in all, and what was replaced is gone.
    assert len(body) / 1200 < len(objects(store, url)) <= len(body) / 1000 + 1
    with closing(Journal(tmp_path / "b")) as journal:
        add(journal, 900, 3)
        fresh = JournalArchive(store, url)
        assert fresh.restore(journal)
        assert journal.path.read_bytes() == body
        add(journal, number, 1)
        fresh.extend(journal.path)
        assert fresh.size == len(journal.path.read_bytes()) > len(body)


def test_a_journal_that_is_ahead_is_kept(store: ObjectStore, url: str, tmp_path: Path) -> None:
    with closing(Journal(tmp_path)) as journal:
        first = JournalArchive(store, url)
        first.restore(journal)
        add(journal, 0, 5)
        first.extend(journal.path)
        add(journal, 5, 5)
        # Half a line is not sent.
        with journal.path.open("ab") as file:
            file.write(b'{"event":"it')
        again = JournalArchive(store, url)
        assert not again.restore(journal)
        again.extend(journal.path)
        assert again.size == journal.path.stat().st_size - len(b'{"event":"it')


def test_only_one_of_two_writers_goes_on(store: ObjectStore, url: str, tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "a")) as mine, closing(Journal(tmp_path / "b")) as other:
        first, second = JournalArchive(store, url), JournalArchive(store, url)
        first.restore(mine)
        second.restore(other)
        add(mine, 0, 3)
        add(other, 100, 3)
        first.extend(mine.path)
        with pytest.raises(JournalTakenError, match="Another process has written"):
            second.extend(other.path)
        # What it holds gives way to what was committed.
        second = JournalArchive(store, url)
        assert second.restore(other)
        assert other.path.read_bytes() == mine.path.read_bytes()


def test_a_run_that_was_taken_over_stops(
    store: ObjectStore, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_archive, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(journal_archive, "UPLOAD_SECONDS", 0.0)
    with closing(Journal(tmp_path / "a")) as mine, closing(Journal(tmp_path / "b")) as other:
        first, second = JournalArchive(store, url), JournalArchive(store, url)
        first.restore(mine)
        second.restore(other)
        add(other, 0, 1)
        second.extend(other.path)
        with (
            pytest.raises(JournalTakenError, match="it has the run now"),
            JournalUploader(first, mine.path),
        ):
            add(mine, 0, 1)


def test_all_is_kept_at_the_end(store: ObjectStore, url: str, tmp_path: Path) -> None:
    with closing(Journal(tmp_path)) as journal:
        kept = JournalArchive(store, url)
        kept.restore(journal)
        with JournalUploader(kept, journal.path):
            add(journal, 0, 4)
        assert kept.size == journal.path.stat().st_size > 0


def grow_until_warned(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    numbers = itertools.count(1)

    def warned() -> bool:
        add(journal, next(numbers), 1)
        return "isn't kept in the store" in caplog.text

    wait_for("the warning that nothing is kept", warned)


def test_an_outage_of_the_store_delays_and_loses_nothing(
    store: ObjectStore,
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    nobody: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The run continues without the store, fails at its end, and a later one uploads all."""
    monkeypatch.setattr(journal_archive, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(journal_archive, "UPLOAD_SECONDS", 0.0)
    away = JournalArchive(ObjectStore(f"http://127.0.0.1:{nobody}", retry_timeout=0.0), url)
    with closing(Journal(tmp_path)) as journal:
        with pytest.raises(StoreUnavailableError), JournalUploader(away, journal.path):
            grow_until_warned(journal, caplog)
        assert "isn't kept in the store" in caplog.text
        back = JournalArchive(store, url)
        assert not back.restore(journal)
        back.extend(journal.path)
        assert back.size == journal.path.stat().st_size


def test_damage_is_reported(store: ObjectStore, url: str, tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "a")) as journal:
        kept = JournalArchive(store, url)
        kept.restore(journal)
        add(journal, 0, 4)
        kept.extend(journal.path)
    (part,) = objects(store, url)
    store.put(f"{url}/{part}", b"something else")
    with (
        closing(Journal(tmp_path / "b")) as journal,
        pytest.raises(ChecksumMismatchError, match=r"delete head\.json"),
    ):
        JournalArchive(store, url).restore(journal)


@pytest.mark.parametrize(
    ("grown", "waited_s", "expected"),
    [
        (0, 1e9, False),
        (1, 0.0, False),
        (1, journal_archive.UPLOAD_SECONDS, True),
        (journal_archive.UPLOAD_BYTES, 0.0, True),
        (-5, 1e9, False),
    ],
)
def test_when_to_send(grown: int, waited_s: float, expected: bool) -> None:
    assert journal_archive.is_due(grown, waited_s) is expected
