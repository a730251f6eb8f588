"""No anchor goes that a delta or a reading engine may need, and what isn't needed goes in time."""

from sea_runtime.trainer.weight_retention import GRACE_SECONDS, Retention
from sea_runtime.transport import stored_versions

FOLDER = stored_versions.folder("s3://runs/job", "policy")


class Store:
    """Objects of versions, and a clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.urls: set[str] = set()
        self.anchors: set[int] = set()
        """Whose manifest names all bytes."""
        self.retention = Retention(lambda: self.now)

    def put(self, version: int, *, full: bool) -> None:
        where = ("s3://runs/job", "policy", version)
        self.urls.add(stored_versions.manifest_url(*where))
        self.urls.add(stored_versions.delta_url(*where, 0, 1))
        if full:
            self.urls.add(stored_versions.shard_url(*where, 0, 1))
            self.anchors.add(version)

    def retain(self, newest: int, count: int) -> set[int]:
        """Deletes; returns which versions are left."""
        is_anchor = self.anchors.__contains__
        self.urls -= set(self.retention.deletable(self.urls, FOLDER, newest, count, is_anchor))
        return {int(url.removeprefix(FOLDER + "/")[1:7]) for url in self.urls}


def chain() -> Store:
    """Versions 1 to 13; 1, 5, 9 and 13 are anchors."""
    store = Store()
    for version in range(1, 14):
        store.put(version, full=version % 4 == 1)
    return store


def test_the_newest_anchors_and_what_follows_the_oldest_of_them_stay() -> None:
    """Every delta that is left leads back to an anchor that is left."""
    store = chain()
    store.retain(13, 2)
    store.now += GRACE_SECONDS
    assert store.retain(13, 2) == set(range(9, 14))


def test_an_engine_has_time_to_read_what_is_passed() -> None:
    """Counted from the moment at which a newer anchor was known, for each version."""
    store = chain()
    assert store.retain(9, 1) == set(range(1, 14))
    store.now += GRACE_SECONDS - 1
    assert store.retain(13, 1) == set(range(1, 14))
    store.now += 1
    assert store.retain(13, 1) == set(range(9, 14))
    store.now += GRACE_SECONDS
    assert store.retain(13, 1) == {13}


def test_an_anchor_that_is_on_its_way_displaces_none() -> None:
    store = chain()
    for _ in range(2):
        store.now += GRACE_SECONDS
        left = store.retain(9, 1)
    assert left == set(range(9, 14))


def test_a_version_that_went_back_is_passed_again_from_then_on() -> None:
    """A stage that starts from older weights: its numbers are needed again."""
    store = chain()
    store.retain(13, 1)
    store.now += GRACE_SECONDS / 2
    for version in (9, 13):
        store.urls.remove(stored_versions.shard_url("s3://runs/job", "policy", version, 0, 1))
    assert 5 in store.retain(13, 1)
    store.put(9, full=True)
    store.now += GRACE_SECONDS / 2
    assert 5 in store.retain(13, 1)


def test_other_objects_are_left_alone_and_without_an_anchor_nothing_goes() -> None:
    store = Store()
    store.put(1, full=False)
    store.urls.add(f"{FOLDER}/notes.txt")
    for _ in range(2):
        store.now += GRACE_SECONDS
        assert store.retention.deletable(store.urls, FOLDER, 9, 1, bool) == []


def test_what_a_dead_attempt_left_without_a_manifest_is_no_anchor() -> None:
    """The deltas after it lead back to the one before."""
    store = chain()
    store.urls.remove(stored_versions.manifest_url("s3://runs/job", "policy", 9))
    for _ in range(2):
        store.now += GRACE_SECONDS
        left = store.retain(13, 2)
    assert left == set(range(5, 14))


def test_shards_of_a_dead_attempt_next_to_another_ones_manifest_make_no_anchor() -> None:
    """It died before its manifest; the version is the deltas of the attempt before, or after."""
    store = chain()
    for attempt in (2, 3):
        store.urls.add(stored_versions.shard_url("s3://runs/job", "policy", 11, 0, attempt))
    for _ in range(2):
        store.now += GRACE_SECONDS
        left = store.retain(13, 2)
    assert left == set(range(9, 14))
    # Its manifest is there by now.
    store.anchors.add(11)
    for _ in range(2):
        store.now += GRACE_SECONDS
        left = store.retain(13, 2)
    assert left == set(range(11, 14))
