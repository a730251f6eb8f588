"""Single passes against the real API server: what they write, and that they write it once."""

import functools

import pytest

from sea_operator.kube.errors import ConflictError, RejectedError
from sea_operator.kube.kinds import SECRET, SERVICE, STATEFUL_SET, Kind
from sea_operator.policies.requeue import SOON
from sea_operator.settings import Intervals

pytestmark = pytest.mark.cluster


LATER = 600.0
"""Seconds after a start that a failure of its own comes: soon after it, a pod that was made long
after the others, as on a busy machine, would be taken for one that replaced another."""


async def settle(world, reconcile, name="j"):
    """The first passes of a job up to where it runs and its coordinator knows what to do."""
    await reconcile(world, name)
    await world.run_pods(name)
    await reconcile(world, name)
    await reconcile(world, name)
    await reconcile(world, name)


async def test_a_pass_makes_all_children_and_one_without_news_writes_nothing(
    world, reconcile, recorder, until
):
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
    assert "j-coordinator-0: Unschedulable: " in (await world.condition("Ready"))["message"]
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


async def test_what_the_server_writes_in_its_own_way_is_not_applied_anew(
    world, reconcile, recorder, until
):
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
            "queueName": "team",
            "topology": "rail",
            "nodeSelector": {"zone": "a"},
            "tolerations": [{"key": "gpu", "effect": "NoSchedule"}, {"operator": "Exists"}],
        },
    )
    await reconcile(world)
    await until(world.judged)
    await reconcile(world)
    recorder.writes.clear()
    await reconcile(world)
    assert recorder.writes == []


async def test_children_are_owned_and_carry_nothing_of_their_parent(world, reconcile):
    await world.create_secret()
    job = await world.create_job()
    await reconcile(world)
    for kind, name in ((STATEFUL_SET, "j-trainer"), (SERVICE, "j-trainer"), (SECRET, "j-auth")):
        meta = (await world.client.get(kind, world.namespace, name))["metadata"]
        assert meta["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
        assert "app.kubernetes.io/instance" not in meta["labels"]
        assert "argocd.argoproj.io/tracking-id" not in meta.get("annotations", {})
    assert (await world.job())["spec"] == job["spec"]


async def test_stages_are_walked_to_the_end_and_pods_released_after_the_last_report(
    world, reconcile
):
    await world.create_secret()
    await world.create_job()
    await settle(world, reconcile)
    coordinator = world.coordinators["j"]
    assert coordinator.wishes[-1].stage_index == 0
    coordinator.complete("sft", running="rl", step=12)
    coordinator.change(reward=0.51234, goodput=0.987)
    await reconcile(world)
    assert coordinator.wishes[-1].stage_index == 1
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


async def test_a_missing_secret_stalls_with_a_sentence_and_heals_by_itself(world, reconcile):
    await world.create_job()
    await reconcile(world)
    stalled = await world.condition("Stalled")
    assert stalled["status"] == "True"
    assert stalled["message"] == (
        f"Secret {world.namespace}/s3 that spec.storage.credentialsSecret names doesn't exist; "
        "create it with keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or change the field."
    )
    assert await world.sizes() == {}
    await world.create_secret()
    await reconcile(world)
    assert (await world.condition("Stalled"))["status"] == "False"
    assert len(await world.sizes()) == 4


async def test_a_stranger_on_our_name_is_named_and_never_touched(world, reconcile, make):
    await world.create_secret()
    labels = {"app": "stranger"}
    stranger = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "j-trainer", "namespace": world.namespace},
        "spec": {
            "replicas": 0,
            "serviceName": "x",
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
        },
    }
    before = await world.client.create(STATEFUL_SET, world.namespace, stranger)
    await world.create_job()
    await reconcile(world)
    stalled = await world.condition("Stalled")
    assert stalled["reason"] == "NameTaken"
    assert f"StatefulSet {world.namespace}/j-trainer" in stalled["message"]
    after = await world.client.get(STATEFUL_SET, world.namespace, "j-trainer")
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert "ownerReferences" not in after["metadata"]


async def test_what_is_deleted_or_changed_comes_back(world, reconcile):
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


async def test_a_trainer_failure_begins_a_new_generation(world, reconcile, clock):
    await world.create_secret()
    await world.create_job()
    await settle(world, reconcile)
    coordinator = world.coordinators["j"]
    clock.ahead = LATER
    coordinator.fail(time=clock())
    await reconcile(world)
    assert coordinator.wishes[-1].generation == 2
    status = await world.status()
    assert status["generation"] == 2
    assert (status["restarts"]["counted"], status["restarts"]["uncounted"]) == (1, 0)
    assert status["lastFailure"]["cause"] == "ProcessExit"
    await reconcile(world)
    assert (await world.status())["restarts"]["counted"] == 1


async def test_an_exhausted_budget_fails_the_job_and_an_edit_revives_it(world, reconcile, clock):
    await world.create_secret()
    await world.create_job(failurePolicy={"budget": {"restarts": 1, "windowSeconds": 600}})
    await settle(world, reconcile)
    coordinator = world.coordinators["j"]
    clock.ahead = LATER
    for _ in range(2):
        coordinator.fail(time=clock())
        await reconcile(world)
    failed = await world.condition("Failed")
    assert (failed["status"], failed["reason"]) == ("True", "RestartBudgetExhausted")
    assert "spec.failurePolicy.budget.restarts" in failed["message"]
    assert (await world.condition("Stalled"))["status"] == "True"
    await reconcile(world)
    assert set((await world.sizes()).values()) == {0}
    await world.edit(failurePolicy={"budget": {"restarts": 5}})
    await reconcile(world)
    assert (await world.condition("Failed"))["status"] == "False"
    assert (await world.sizes())["j-trainer"] == 2
    assert (await world.status())["generation"] == 3


async def test_suspend_drains_releases_and_resumes(world, reconcile):
    await world.create_secret()
    await world.create_job()
    await settle(world, reconcile)
    coordinator = world.coordinators["j"]
    await world.edit(suspend=True)
    await reconcile(world)
    assert coordinator.wishes[-1].drain
    assert (await world.condition("Suspended"))["status"] == "Unknown"
    assert (await world.sizes())["j-trainer"] == 2
    coordinator.change(drained=True)
    await reconcile(world)
    assert set((await world.sizes()).values()) == {0}
    assert (await world.condition("Suspended"))["status"] == "True"
    assert (await world.condition("Ready"))["reason"] == "Suspended"
    await coordinator.stop()
    await reconcile(world)
    assert set((await world.sizes()).values()) == {0}
    await world.edit(suspend=False)
    await reconcile(world)
    assert (await world.sizes())["j-trainer"] == 2
    assert (await world.status())["generation"] == 2


async def test_a_drain_that_never_ends_is_cut_off(world, reconcile, clock):
    await world.create_secret()
    await world.create_job()
    await settle(world, reconcile)
    clock.hold()
    await world.edit(suspend=True)
    await reconcile(world)
    clock.ahead = 179
    await reconcile(world)
    assert (await world.sizes())["j-trainer"] == 2
    clock.ahead = 182
    await reconcile(world)
    assert set((await world.sizes()).values()) == {0}


async def test_a_problem_of_the_data_stalls_until_the_coordinator_takes_it_back(world, reconcile):
    from sea_api.wire.state import Problem

    await world.create_secret()
    await world.create_job()
    await settle(world, reconcile)
    coordinator = world.coordinators["j"]
    sentence = "s3://bucket/sft.jsonl doesn't exist; change spec.data.sft."
    coordinator.change(problem=Problem(reason="DataNotFound", message=sentence))
    await reconcile(world)
    stalled = await world.condition("Stalled")
    assert (stalled["reason"], stalled["message"]) == ("DataNotFound", sentence)
    pods = {pod["metadata"]["uid"] for pod in await world.pods()}
    await world.edit(data={"sft": ["s3://bucket/there.jsonl"]})
    await reconcile(world)
    assert coordinator.wishes[-1].spec.data.sft == ["s3://bucket/there.jsonl"]
    coordinator.change(problem=None)
    await reconcile(world)
    assert (await world.condition("Stalled"))["status"] == "False"
    assert {pod["metadata"]["uid"] for pod in await world.pods()} == pods


async def test_more_rollouts_join_without_a_restart(world, reconcile):
    await world.create_secret()
    await world.create_job()
    await settle(world, reconcile)
    before = {pod["metadata"]["uid"] for pod in await world.pods()}
    await world.edit(rollout={"replicas": 3})
    await reconcile(world)
    await world.run_pods(count=7)
    assert before <= {pod["metadata"]["uid"] for pod in await world.pods()}
    assert (await world.status())["generation"] == 1


async def test_more_trainer_pods_begin_a_generation_of_the_new_size(world, reconcile):
    await world.create_secret()
    await world.create_job()
    await settle(world, reconcile)
    await world.edit(trainer={"replicas": 4})
    await reconcile(world)
    assert (await world.sizes())["j-trainer"] == 4
    coordinator = world.coordinators["j"]
    assert coordinator.wishes[-1].generation == 2
    await world.run_pods(count=7)
    await reconcile(world)
    assert coordinator.wishes[-1].generation == 2
    assert (await world.status())["restarts"]["counted"] == 0


async def test_a_changed_template_replaces_the_pods(world, reconcile, until):
    await world.create_secret()
    await world.create_job()
    await settle(world, reconcile)
    before = {p["metadata"]["name"]: p["metadata"]["uid"] for p in await world.pods()}
    trainer = {"template": {"env": [{"name": "X", "value": "1"}]}}
    await world.edit(trainer=trainer)
    await reconcile(world)

    async def replaced():
        await reconcile(world)
        await world.force_delete_pods()
        now = {p["metadata"]["name"]: p["metadata"]["uid"] for p in await world.pods()}
        changed = {name for name in before if now.get(name, before[name]) != before[name]}
        return changed == {"j-trainer-0", "j-trainer-1"} and set(now) == set(before)

    await until(replaced)
    pods = {pod["metadata"]["name"]: pod for pod in await world.pods()}
    with_x = {
        name
        for name, pod in pods.items()
        if {"name": "X", "value": "1"} in pod["spec"]["containers"][0]["env"]
    }
    assert with_x == {"j-trainer-0", "j-trainer-1"}
    kept = {name for name in before if pods[name]["metadata"]["uid"] == before[name]}
    assert kept == set(before) - with_x


async def test_a_lost_token_is_made_anew_and_the_pods_with_it(world, reconcile, until):
    await world.create_secret()
    await world.create_job()
    await settle(world, reconcile)
    old = await world.token()
    secret = await world.client.get(SECRET, world.namespace, "j-auth")
    await world.client.delete(SECRET, world.namespace, "j-auth", secret["metadata"]["uid"])
    await reconcile(world)
    assert await world.token() not in (None, old)


async def test_a_crash_after_any_write_is_made_good_by_the_next_pass(
    world, reconcile, recorder, crash, until
):
    await world.create_secret()
    await world.create_job("whole")
    await reconcile(world, "whole")
    total = len(recorder.writes)
    assert total >= 10
    wanted = {
        name.replace("whole", "x"): size for name, size in (await world.sizes("whole")).items()
    }
    for after in range(1, total + 1):
        name = f"c{after}"
        await world.create_job(name)
        recorder.writes.clear()
        recorder.crash_after = after
        with pytest.raises(crash):
            await reconcile(world, name)
        recorder.crash_after = None
        token = await world.token(name)
        await reconcile(world, name)
        assert token in (None, await world.token(name)), "a token is never rotated"
        sizes = {
            child.replace(name, "x"): size for child, size in (await world.sizes(name)).items()
        }
        assert sizes == wanted
        # The last news by itself: what the scheduler says of the pods goes into the status.
        await until(functools.partial(world.judged, name))
        await reconcile(world, name)
        recorder.writes.clear()
        await reconcile(world, name)
        assert recorder.writes == []


async def test_a_crash_between_status_and_command_neither_loses_nor_repeats_a_restart(
    world, reconcile, recorder, crash, clock
):
    await world.create_secret()
    await world.create_job()
    await settle(world, reconcile)
    coordinator = world.coordinators["j"]
    clock.ahead = LATER
    coordinator.fail(time=clock())
    recorder.writes.clear()
    recorder.crash_after = 1
    with pytest.raises(crash):
        await reconcile(world)
    recorder.crash_after = None
    assert coordinator.wishes[-1].generation == 1
    await reconcile(world)
    assert coordinator.wishes[-1].generation == 2
    assert (await world.status())["restarts"]["counted"] == 1


async def test_two_jobs_do_not_disturb_each_other(world, reconcile):
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


async def test_a_write_by_somebody_else_in_between_is_noticed(world, reconcile, recorder):
    await world.create_secret()
    await world.create_job()
    original = recorder.list

    async def edit_meanwhile(kind, namespace, selector):
        recorder.list = original
        await world.edit(suspend=True)
        return await original(kind, namespace, selector)

    recorder.list = edit_meanwhile
    with pytest.raises(ConflictError):
        await reconcile(world)
    await reconcile(world)
    assert (await world.status())["observedGeneration"] == 2


async def test_a_deleted_job_is_left_to_the_garbage_collector(world, reconcile, until):
    await world.create_secret()
    job = await world.create_job()
    await reconcile(world)
    from sea_operator.kube.kinds import JOB

    await world.client.delete(JOB, world.namespace, "j", job["metadata"]["uid"])
    assert await reconcile(world) is None

    async def no_children():
        return not await world.sizes() and await world.token() is None

    await until(no_children)
    await world.client.get(SECRET, world.namespace, "s3")


async def test_a_token_that_the_namespace_has_no_room_for_stalls_with_the_servers_words(
    world, reconcile, until
):
    await world.create_secret()
    quota = Kind("v1", "ResourceQuota", "resourcequotas")
    body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full"}}
    full = {**body, "spec": {"hard": {"secrets": "1"}}}
    await world.client.create(quota, world.namespace, full)

    async def enforced():
        """The quota's admission has heard of it and of what is used: a moment after both."""
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "probe"}}
        path, content = SECRET.path(world.namespace), "application/json"
        try:
            await world.client._call("POST", path, [("dryRun", "All")], secret, content)
        except RejectedError as error:
            return "exceeded quota: full" in str(error)
        return False

    await until(enforced)
    await world.create_job()
    assert await reconcile(world) == SOON
    stalled = await world.condition("Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "ChildRejected")
    assert f"Secret {world.namespace}/j-auth" in stalled["message"]
    assert "exceeded quota: full" in stalled["message"]
    assert await world.sizes() == {}
    uid = (await world.client.get(quota, world.namespace, "full"))["metadata"]["uid"]
    await world.client.delete(quota, world.namespace, "full", uid)

    async def made():
        await reconcile(world)
        return len(await world.sizes()) == 4

    await until(made)
    assert (await world.condition("Stalled"))["status"] == "False"


async def test_a_child_that_is_refused_is_not_sent_each_second(world, reconcile):
    """Nothing changes before a person acts; a refused PATCH costs the API server a whole check."""
    await world.create_secret()
    await world.create_job()
    await reconcile(world)
    live = await world.client.get(STATEFUL_SET, world.namespace, "j-rollout")
    uid = live["metadata"]["uid"]
    await world.client.delete(STATEFUL_SET, world.namespace, "j-rollout", uid, 0)
    meta = {key: live["metadata"][key] for key in ("name", "namespace", "labels")}
    owners = live["metadata"]["ownerReferences"]
    other = {
        **{key: live[key] for key in ("apiVersion", "kind")},
        "metadata": {**meta, "ownerReferences": owners},
        "spec": {**live["spec"], "serviceName": "cannot-be-changed"},
    }
    await world.client.create(STATEFUL_SET, world.namespace, other)
    await reconcile(world)
    assert await reconcile(world) == Intervals().stalled
    assert (await world.condition("Stalled"))["reason"] == "ChildRejected"
