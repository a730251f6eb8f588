"""Single passes against the real API server: what they write, and that they write it once."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sea_api.v1alpha1.names import MAX_NAME
from sea_operator.errors import ConflictError
from sea_operator.kube.client import SECRET, SERVICE, STATEFUL_SET
from sea_testing.operator_client import Recorder
from sea_testing.operator_world import World, settle

pytestmark = pytest.mark.cluster


async def test_a_pass_makes_all_children_and_one_without_news_writes_nothing(
    world: World, reconcile: Callable[..., Awaitable[float | None]], recorder: Recorder, until: Any
) -> None:
    await world.create_secret()
    await world.create_job()
    await reconcile(world)
    assert await world.sizes() == {
        "j-coordinator": 1,
        "j-rollout": 1,
        "j-trainer": 2,
        "j-user": 1,
    }
    assert (await world.status())["observedGeneration"] == 1
    await until(world.judged)
    await reconcile(world)
    message = (await world.condition("Ready"))["message"]
    assert "j-coordinator-0, j-rollout-0, j-trainer-0 and 2 more: Unschedulable: " in message
    recorder.writes.clear()
    await reconcile(world)
    assert recorder.writes == []
    await world.run_pods()
    for _ in range(3):
        await reconcile(world)
    assert (await world.condition("Ready"))["status"] == "True"
    recorder.writes.clear()
    await reconcile(world)
    assert recorder.writes == []


async def test_what_the_server_writes_in_its_own_way_is_not_applied_again(
    world: World, reconcile: Callable[..., Awaitable[float | None]], recorder: Recorder, until: Any
) -> None:
    """An empty value is dropped, an amount below a thousandth rounded up."""
    await world.create_secret()
    template = {
        "env": [{"name": "EMPTY", "value": ""}],
        "requests": {"cpu": "0.0004", "memory": "0.5Gi"},
        "nodeSelector": {"pool": ""},
    }
    await world.create_job(
        trainer={"template": template, "gpusPerPod": 8},
        rollout={"gpusPerPod": 8, "template": {"limits": {"rdma/ib": "1"}}},
        coordinator={"storageClassName": "fast", "volumeSize": "1024Mi"},
        scheduling={
            "topology": "rail",
            "nodeSelector": {"zone": "a"},
            "tolerations": [{"key": "gpu", "effect": "NoSchedule"}, {"operator": "Exists"}],
        },
    )
    await reconcile(world)
    # Of coordinator and user model: pods with GPUs wait for the coordinator's check.
    await until(lambda: world.judged(count=2))
    await reconcile(world)
    recorder.writes.clear()
    await reconcile(world)
    assert recorder.writes == []


async def test_children_are_owned_and_carry_nothing_of_their_parent(
    world: World, reconcile: Callable[..., Awaitable[float | None]]
) -> None:
    await world.create_secret()
    job = await world.create_job()
    await reconcile(world)
    for kind, name in ((STATEFUL_SET, "j-trainer"), (SERVICE, "j-trainer"), (SECRET, "j-auth")):
        meta = (await world.client.get(kind, world.namespace, name))["metadata"]
        assert meta["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
        assert "app.kubernetes.io/instance" not in meta["labels"]
        assert "argocd.argoproj.io/tracking-id" not in meta.get("annotations", {})
    assert (await world.job())["spec"] == job["spec"]


async def test_a_job_of_the_longest_name_gets_all_its_pods(
    world: World, reconcile: Callable[..., Awaitable[float | None]], until: Any
) -> None:
    """Names of pods are labels, as are the revisions of their StatefulSets."""
    name = "j" * MAX_NAME
    await world.create_secret()
    await world.create_job(name)
    await reconcile(world, name)
    await until(lambda: world.judged(name))
    assert f"{name}-coordinator-0" in {pod["metadata"]["name"] for pod in await world.pods(name)}


async def test_stages_are_walked_to_the_end_and_pods_released_after_the_last_report(
    world: World, reconcile: Callable[..., Awaitable[float | None]]
) -> None:
    await world.create_secret()
    await world.create_job()
    await settle(world, reconcile)
    coordinator = world.coordinators["j"]
    assert coordinator.specs[-1].stage_index == 0
    coordinator.complete("sft", running="rl", step=12)
    coordinator.change(reward=0.51234, goodput=0.987)
    await reconcile(world)
    assert coordinator.specs[-1].stage_index == 1
    status = await world.status()
    assert (status["stage"], status["progress"], status["goodput"]) == ("rl", "12/40", "98.7")
    coordinator.complete("sft", "rl", "eval")
    await reconcile(world)
    assert (await world.condition("Complete"))["status"] == "True"
    assert (await world.condition("Ready"))["status"] == "True"
    assert (await world.sizes())["j-coordinator"] == 1
    await reconcile(world)
    assert set((await world.sizes()).values()) == {0}
    status = await world.status()
    assert status["completionTime"]
    assert status["reward"] == 0.5123


async def test_what_is_deleted_or_changed_comes_back(
    world: World, reconcile: Callable[..., Awaitable[float | None]]
) -> None:
    await world.create_secret()
    await world.create_job()
    await reconcile(world)
    for kind in (STATEFUL_SET, SERVICE):
        live = await world.client.get(kind, world.namespace, "j-rollout")
        await world.client.delete(kind, world.namespace, "j-rollout", live["metadata"]["uid"])
    await world.patch(STATEFUL_SET, "j-trainer", {"spec": {"replicas": 7}})
    await reconcile(world)
    assert (await world.sizes())["j-trainer"] == 2
    assert "j-rollout" in await world.sizes()
    await world.client.get(SERVICE, world.namespace, "j-rollout")


async def test_two_jobs_do_not_disturb_each_other(
    world: World, reconcile: Callable[..., Awaitable[float | None]]
) -> None:
    await world.create_secret()
    await world.create_job("a")
    await world.create_job("b")
    await settle(world, reconcile, "a")
    await settle(world, reconcile, "b")
    world.coordinators["a"].complete("sft", "rl", "eval")
    await reconcile(world, "a")
    await reconcile(world, "a")
    assert set((await world.sizes("a")).values()) == {0}
    assert (await world.sizes("b"))["b-trainer"] == 2
    assert (await world.condition("Ready", "b"))["reason"] == "Running"
    assert await world.token("a") != await world.token("b")


async def test_a_write_by_somebody_else_in_between_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
    world: World,
    reconcile: Callable[..., Awaitable[float | None]],
    recorder: Recorder,
) -> None:
    await world.create_secret()
    await world.create_job()
    await settle(world, reconcile)
    await world.edit(trainer={"replicas": 3})
    real = recorder.apply

    async def edit_meanwhile(*given: Any, **more: Any) -> Any:
        """After the pass's own fresh read of the job: only the status write can notice it."""
        monkeypatch.setattr(recorder, "apply", real)
        await world.edit(suspend=True)
        return await real(*given, **more)

    monkeypatch.setattr(recorder, "apply", edit_meanwhile)
    with pytest.raises(ConflictError):
        await reconcile(world)
    await reconcile(world)
    assert (await world.status())["observedGeneration"] == 3


async def test_somebody_who_annotates_the_job_all_the_time_does_not_starve_its_status(
    monkeypatch: pytest.MonkeyPatch,
    world: World,
    reconcile: Callable[..., Awaitable[float | None]],
    recorder: Recorder,
) -> None:
    await world.create_secret()
    await world.create_job()
    real, count = recorder.merge, 0

    async def annotate_first(kind: Any, body: Any, sub: Any = None) -> Any:
        nonlocal count
        if count < 5:
            count += 1
            note = {"metadata": {"annotations": {"example.com/beat": str(count)}}}
            await world.patch(kind, "j", note)
        return await real(kind, body, sub)

    monkeypatch.setattr(recorder, "merge", annotate_first)
    await reconcile(world)
    assert count == 5
    assert (await world.status())["observedGeneration"] == 1
    job = await world.job()
    assert job["metadata"]["annotations"]["example.com/beat"] == "5"


async def test_a_deleted_job_is_left_to_the_garbage_collector(
    world: World, reconcile: Callable[..., Awaitable[float | None]], until: Any
) -> None:
    await world.create_secret()
    job = await world.create_job()
    await reconcile(world)
    from sea_operator.kube.client import JOB

    await world.client.delete(JOB, world.namespace, "j", job["metadata"]["uid"])
    assert await reconcile(world) is None

    async def no_children() -> Any:
        return not await world.sizes() and await world.token() is None

    await until(no_children)
    await world.client.get(SECRET, world.namespace, "s3")
