"""The cache: versions only move forward, and only what a pass must answer brings one."""

from collections.abc import Callable
from typing import Any

import pytest

from sea_api.contract import JOB_LABEL
from sea_operator.cache import MAX_REMEMBERED, Cache, Key
from sea_operator.kube.client import JOB, POD, STATEFUL_SET
from sea_operator.spec_warnings import ANNOTATION

KEY = ("n", "j")
LABELS = {JOB_LABEL: "j"}


class Watched(Cache):
    """A cache that keeps the keys that it wanted passes for."""

    def __init__(self) -> None:
        self.keys: list[Key] = []
        super().__init__(self.keys.append)


@pytest.fixture
def cache(stored: Any) -> Watched:
    """Knows a job, and nothing else."""
    cache = Watched()
    cache.put(JOB, stored())
    cache.keys.clear()
    return cache


@pytest.fixture
def stored(make: Any) -> Any:
    """`stored(version, **fields)`: the job as the API server holds it."""

    def job(version: int = 1, generation: int = 1, **meta: Any) -> dict[str, Any]:
        named = {"name": "j", "namespace": "n", "uid": "uid-j", "generation": generation}
        return {
            "metadata": {**named, "resourceVersion": str(version), **meta},
            "spec": make.raw_spec(),
        }

    return job


def child(version: int, uid: str = "uid-s", name: str = "j-trainer", **rest: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": "n", "uid": uid, "labels": LABELS}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {**meta, "resourceVersion": str(version)},
        "spec": {"replicas": 1},
        **rest,
    }


def pod(version: int, ready: bool = False, **meta: Any) -> dict[str, Any]:
    named = {"name": "j-trainer-0", "namespace": "n", "uid": "uid-p", "labels": LABELS}
    times = {"creationTimestamp": "2027-01-15T08:00:00Z", "resourceVersion": str(version)}
    conditions = [{"type": "Ready", "status": "True"}] if ready else []
    return {"metadata": {**named, **times, **meta}, "status": {"conditions": conditions}}


def sets(cache: Cache) -> dict[str, str]:
    view = cache.view(KEY)
    assert view is not None
    return {name: one.uid for (_, name), one in view.children.items()}


def test_a_job_that_nobody_told_of_has_no_view() -> None:
    cache = Watched()
    cache.put(STATEFUL_SET, child(5))
    assert cache.view(KEY) is None
    assert cache.keys == [KEY]


def test_a_view_has_all_of_its_job_and_nothing_of_others(cache: Watched, stored: Any) -> None:
    cache.put(STATEFUL_SET, child(5))
    cache.put(POD, pod(6))
    other = child(7, uid="uid-o", name="k-trainer")
    other["metadata"]["labels"] = {JOB_LABEL: "k"}
    cache.put(STATEFUL_SET, other)
    view = cache.view(KEY)
    assert view is not None
    assert (view.job.name, [one.name for one in view.pods]) == ("j", ["j-trainer-0"])
    assert sets(cache) == {"j-trainer": "uid-s"}


def test_late_news_change_nothing(cache: Watched) -> None:
    cache.wrote(STATEFUL_SET, child(9, spec={"replicas": 3}))
    before = cache.view(KEY)
    cache.put(STATEFUL_SET, child(5, spec={"replicas": 1}))
    assert cache.view(KEY) == before
    assert cache.keys == []


def test_our_own_writes_are_known_at_once_and_bring_no_pass(cache: Watched, stored: Any) -> None:
    cache.wrote(STATEFUL_SET, child(5))
    cache.wrote(JOB, {**stored(6), "status": {"stage": "rl"}})
    view = cache.view(KEY)
    assert view is not None
    assert (view.job.status.stage, view.job.resource_version) == ("rl", "6")
    assert sets(cache) == {"j-trainer": "uid-s"}
    assert cache.keys == []
    cache.put(STATEFUL_SET, child(5))
    cache.put(JOB, {**stored(6), "status": {"stage": "rl"}})
    assert cache.keys == [], "the echo of a write is no news"


def test_a_child_that_we_deleted_does_not_come_back_by_late_news(cache: Watched) -> None:
    cache.put(STATEFUL_SET, child(5))
    cache.deleted(STATEFUL_SET, "n", "j-trainer", "uid-s")
    assert sets(cache) == {}
    cache.put(STATEFUL_SET, child(7))
    assert sets(cache) == {}
    cache.remove(STATEFUL_SET, child(8))
    cache.put(STATEFUL_SET, child(9, uid="uid-next"))
    assert sets(cache) == {"j-trainer": "uid-next"}


def test_the_end_of_a_child_does_not_take_its_successor_along(cache: Watched) -> None:
    cache.put(STATEFUL_SET, child(5))
    cache.wrote(STATEFUL_SET, child(9, uid="uid-next"))
    cache.remove(STATEFUL_SET, child(8))
    assert sets(cache) == {"j-trainer": "uid-next"}


def test_a_list_takes_away_what_vanished_while_nobody_watched(cache: Watched) -> None:
    cache.put(STATEFUL_SET, child(5))
    cache.put(STATEFUL_SET, child(6, uid="uid-r", name="j-rollout"))
    cache.put(POD, pod(7))
    cache.wrote(STATEFUL_SET, child(21, uid="uid-u", name="j-user"))
    cache.keys.clear()
    cache.prune(STATEFUL_SET, None, {("n", "j-rollout")}, "20")
    assert sets(cache) == {"j-rollout": "uid-r", "j-user": "uid-u"}, "ours is newer than the list"
    assert cache.keys == [KEY]
    view = cache.view(KEY)
    assert view is not None
    assert view.pods, "a list of one kind says nothing of others"


def test_a_list_of_one_namespace_says_nothing_of_others(cache: Watched) -> None:
    cache.put(STATEFUL_SET, child(5))
    cache.prune(STATEFUL_SET, "elsewhere", set(), "20")
    assert sets(cache) == {"j-trainer": "uid-s"}


@pytest.mark.parametrize(
    ("version", "generation", "meta", "expected"),
    [
        (2, 1, {}, []),
        (2, 2, {}, [KEY]),
        (2, 1, {"deletionTimestamp": "2027-01-15T08:00:00Z"}, [KEY]),
        (2, 1, {"uid": "uid-next"}, [KEY]),
    ],
)
def test_only_an_edit_or_the_end_of_a_job_brings_a_pass(
    cache: Watched,
    stored: Any,
    version: int,
    generation: int,
    meta: dict[str, Any],
    expected: list[Key],
) -> None:
    cache.put(JOB, stored(version, generation, **meta))
    assert cache.keys == expected


def test_what_no_policy_reads_brings_no_pass(cache: Watched) -> None:
    cache.put(STATEFUL_SET, child(5))
    cache.put(POD, pod(6))
    cache.keys.clear()
    before = cache.view(KEY)
    cache.put(STATEFUL_SET, child(7, status={"readyReplicas": 1}))
    cache.put(POD, pod(8, managedFields=[{"manager": "kubelet"}]))
    assert cache.keys == []
    assert cache.view(KEY) == before
    cache.put(POD, pod(9, ready=True))
    assert cache.keys == [KEY]


def test_a_pod_brings_no_pass_before_it_runs_or_somebody_says_why_not(cache: Watched) -> None:
    """Those of a new job are made one after the other, and there is nothing to do about them."""
    cache.put(POD, pod(6))
    assert cache.keys == []
    view = cache.view(KEY)
    assert view is not None
    assert len(view.pods) == 1, "the next pass knows it"
    unschedulable = {"type": "PodScheduled", "status": "False", "message": "no room"}
    cache.put(POD, {**pod(7), "status": {"conditions": [unschedulable]}})
    assert cache.keys == [KEY]
    cache.put(POD, {**pod(8, uid="uid-next"), "status": {"phase": "Running"}})
    assert cache.keys == [KEY, KEY]


def test_a_node_brings_no_pass_before_the_pod_runs_there(cache: Watched) -> None:
    cache.put(POD, pod(6))
    cache.put(POD, {**pod(7), "spec": {"nodeName": "a"}})
    assert cache.keys == []
    view = cache.view(KEY)
    assert view is not None
    assert view.pods[0].node == "a", "the next pass knows it"
    cache.put(POD, {**pod(8, ready=True), "spec": {"nodeName": "a"}})
    assert cache.keys == [KEY]


def test_each_change_makes_another_revision(cache: Watched, stored: Any) -> None:
    seen = set()
    changes: tuple[Callable[[], None], ...] = (
        lambda: cache.put(STATEFUL_SET, child(5)),
        lambda: cache.put(POD, pod(6)),
        lambda: cache.wrote(JOB, {**stored(7), "status": {"stage": "rl"}}),
        lambda: cache.deleted(POD, "n", "j-trainer-0", "uid-p"),
        lambda: cache.remove(JOB, stored(8)),
        lambda: cache.put(JOB, stored(9, uid="uid-next")),
    )
    for change in changes:
        change()
        view = cache.view(KEY)
        seen.add(view.revision if view else 0)
    assert len(seen) == 6


def test_a_label_that_names_another_job_moves_the_child(cache: Watched) -> None:
    cache.put(STATEFUL_SET, child(5))
    moved = child(6)
    moved["metadata"]["labels"] = {JOB_LABEL: "k"}
    cache.put(STATEFUL_SET, moved)
    assert sets(cache) == {}
    assert cache.keys == [KEY, KEY, ("n", "k")]


def test_a_spec_is_parsed_once_for_its_generation(cache: Watched, stored: Any) -> None:
    first = cache.view(KEY)
    cache.put(JOB, {**stored(2), "status": {"stage": "rl"}})
    second = cache.view(KEY)
    cache.put(JOB, stored(3, generation=2))
    third = cache.view(KEY)
    assert first is not None
    assert second is not None
    assert third is not None
    assert second.job.spec is first.job.spec
    assert third.job.spec is not first.job.spec


def test_what_is_gone_leaves_nothing_behind(cache: Watched, stored: Any) -> None:
    cache.put(STATEFUL_SET, child(5))
    cache.deleted(STATEFUL_SET, "n", "j-trainer", "uid-s")
    cache.remove(STATEFUL_SET, child(6))
    cache.remove(JOB, stored(7))
    assert (cache._families, cache._homes) == ({}, {})


def test_an_object_without_our_label_is_not_kept(cache: Watched) -> None:
    """A reflector of all objects would be a mistake; memory must not pay for it."""
    stranger = child(5)
    del stranger["metadata"]["labels"]
    cache.put(STATEFUL_SET, stranger)
    assert sets(cache) == {}


@pytest.mark.parametrize("end", ["event", "list"])
def test_a_late_answer_to_a_write_does_not_bring_back_what_is_gone(
    cache: Watched, end: str
) -> None:
    """Nothing would take it away again; a job of the same name would wait for its end for ever."""
    cache.put(STATEFUL_SET, child(5))
    if end == "event":
        cache.remove(STATEFUL_SET, child(8))
    else:
        cache.prune(STATEFUL_SET, None, set(), "8")
    cache.wrote(STATEFUL_SET, child(7, spec={"replicas": 3}))
    assert sets(cache) == {}
    cache.put(STATEFUL_SET, child(9))
    assert sets(cache) == {"j-trainer": "uid-s"}, "it has its label back"


def test_the_memory_of_what_is_gone_has_a_bound(cache: Watched) -> None:
    for number in range(MAX_REMEMBERED + 10):
        cache.remove(STATEFUL_SET, child(number, uid=f"uid-{number}"))
    assert len(cache._gone) == MAX_REMEMBERED
    assert "uid-9" not in cache._gone


def test_a_pod_that_moves_is_news_to_its_new_job(cache: Watched) -> None:
    cache.put(POD, pod(6))
    cache.keys.clear()
    cache.put(POD, pod(7, labels={JOB_LABEL: "k"}))
    assert cache.keys == [KEY, ("n", "k")]


def test_an_apply_that_the_server_dropped_everything_of_brings_a_pass(
    cache: Watched, stored: Any
) -> None:
    """It changes the annotation of `kubectl apply`, and no generation."""
    text = '{"spec": {"paused": true}}'
    cache.put(JOB, stored(2, annotations={ANNOTATION: text}))
    assert cache.keys == [KEY]
    cache.put(JOB, stored(3, annotations={ANNOTATION: text, "somebody": "else"}))
    assert cache.keys == [KEY]


def test_what_is_known_of_a_job_is_put_together_once_per_change(cache: Watched) -> None:
    """Every pass looks, and most find what the one before them found."""
    first = cache.view(KEY)
    assert cache.view(KEY) is first
    cache.put(STATEFUL_SET, child(2))
    second = cache.view(KEY)
    assert second is not first
    cache.applied(STATEFUL_SET, child(3), "digest")
    third = cache.view(KEY)
    assert third is not None
    assert third.accepted == {("StatefulSet", "j-trainer"): "digest"}
    assert cache.view(KEY) is third
