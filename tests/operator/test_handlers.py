"""kopf's handlers: which events become keys, and that they can't write."""

import kopf
import pytest

from sea_operator.handlers import CHILDREN, Seen, registry, settings


@pytest.fixture
def keys():
    return []


def meta(generation=1, uid="u", **rest):
    return {"namespace": "n", "name": "j", "uid": uid, "generation": generation, **rest}


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([(None, meta())], 1),
        ([(None, meta()), ("MODIFIED", meta())], 1),
        ([(None, meta()), ("MODIFIED", meta(2))], 2),
        ([(None, meta()), ("MODIFIED", meta(deletionTimestamp="x"))], 2),
        ([(None, meta()), ("DELETED", meta())], 2),
        ([(None, meta()), ("DELETED", meta()), ("ADDED", meta(uid="v"))], 3),
        ([("ADDED", meta()), ("ADDED", meta(uid="v"))], 2),
    ],
)
def test_only_real_changes_of_a_job_become_keys(keys, events, expected):
    seen = Seen(keys.append)
    for type_, found in events:
        seen.job(type_, found)
    assert keys == [("n", "j")] * expected


def test_nothing_is_registered_that_makes_kopf_write(keys):
    handlers = registry(keys.append, dict)
    assert not handlers._changing.get_all_handlers()
    assert not handlers._spawning.get_all_handlers()
    assert len(handlers._watching.get_all_handlers()) == 1 + len(CHILDREN)


def test_the_settings_avoid_the_known_traps():
    ours = settings()
    assert ours.queueing.worker_limit is None
    assert ours.posting.enabled is False
    assert ours.scanning.disabled is True
    assert ours.watching.server_timeout < ours.watching.client_timeout
    assert len(ours.watching.label_selectors) == len(CHILDREN)


def test_kopf_is_the_version_whose_traps_we_know():
    assert kopf.__version__ == "1.45.2"
