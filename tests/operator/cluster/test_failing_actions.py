"""One thing that can't be done stops nothing else, and the status says it in the server's words."""

import functools
from typing import Any

import pytest

from sea_operator.action_backoff import MAX_SECONDS
from sea_operator.errors import KubeError, RejectedError, UnavailableError
from sea_operator.kube.client import EVENT, POD, SECRET, STATEFUL_SET
from sea_operator.secret_reader import MAX_AGE_SECONDS
from sea_testing.admission import (
    BINDING,
    POLICY,
    WEBHOOK,
    drop,
    judge_new_sets,
    make,
    selected,
    try_new_set,
)
from sea_testing.operator_client import Recorder
from sea_testing.operator_world import RunningOperator, World

pytestmark = pytest.mark.cluster

MERGE = "application/merge-patch+json"
WORDS = "pods of this namespace are protected, ask the platform team"


async def events(world: World, reason: str) -> list[str]:
    found = await world.client.list(EVENT, world.namespace, "")
    return [one["message"] for one in found if one["reason"] == reason]


async def forbid(world: World, what: dict[str, Any], probe: tuple[str, str], until: Any) -> None:
    """A policy that refuses `what` (a resource rule); it holds once it refuses `probe`."""
    validation = {"expression": "false", "message": WORDS}
    matched = {"resourceRules": [what], "namespaceSelector": selected(world)}
    spec = {"failurePolicy": "Fail", "matchConstraints": matched, "validations": [validation]}
    await make(world, POLICY, {"spec": spec})
    binding = {"policyName": world.namespace, "validationActions": ["Deny"]}
    await make(world, BINDING, {"spec": binding})
    method, path = probe

    async def enforced() -> bool:
        body = {"metadata": {"annotations": {"probe": "x"}}} if method == "PATCH" else None
        try:
            await world.client.request(method, path, [("dryRun", "All")], body, MERGE)
        except RejectedError:
            return True
        return False

    await until(enforced)


async def forbid_pod_deletion(world: World, until: Any) -> None:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["DELETE"]}
    pod = (await world.pods())[0]["metadata"]["name"]
    probe = ("DELETE", POD.path(world.namespace, pod))
    await forbid(world, {**rule, "resources": ["pods"]}, probe, until)


async def forbid_changed_sets(world: World, until: Any) -> None:
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"]}
    probe = ("PATCH", STATEFUL_SET.path(world.namespace, "j-rollout"))
    await forbid(world, {**rule, "resources": ["statefulsets"]}, probe, until)


async def test_a_refused_deletion_of_pods_stops_neither_stages_nor_status(
    operator: RunningOperator, world: World, recorder: Recorder, until: Any
) -> None:
    await operator.settle()
    await forbid_pod_deletion(world, until)
    operator.stop_clock()
    try:
        await world.edit(trainer={"template": {"env": [{"name": "X", "value": "1"}]}})
        world.coordinators["j"].complete("sft", running="rl", step=3)

        async def refused() -> bool:
            operator.ahead += MAX_SECONDS
            await operator.a_pass()
            return (await world.condition("Stalled"))["reason"] == "DeletionRefused"

        await until(refused)
        await until(functools.partial(passed, operator))
        stalled = await world.condition("Stalled")
        assert stalled["status"] == "True"
        assert WORDS in stalled["message"]
        assert "j-trainer-0" in stalled["message"]
        assert (await world.condition("Ready"))["status"] == "False"
        assert world.coordinators["j"].specs[-1].stage_index == 1
        assert (await world.status())["progress"] == "3/40"
        world.coordinators["j"].change(reward=0.75)
        await until(functools.partial(shows_reward, operator))
        assert len(await events(world, "DeletionRefused")) == 1
        recorder.requests.clear()
        await operator.a_pass()
        assert [one for one in recorder.requests if one.startswith("DELETE")] == []
    finally:
        await drop(world, BINDING)
        await drop(world, POLICY)

    async def replaced() -> bool:
        operator.ahead += MAX_SECONDS
        await operator.a_pass()
        return (await world.condition("Stalled"))["status"] == "False"

    await until(replaced)


async def passed(operator: RunningOperator) -> bool:
    await operator.a_pass()
    specs = operator.world.coordinators["j"].specs
    return bool(specs) and specs[-1].stage_index == 1


async def shows_reward(operator: RunningOperator) -> bool:
    await operator.a_pass()
    return (await operator.world.status()).get("reward") == 0.75


async def test_a_webhook_that_is_down_stops_only_what_it_judges(
    operator: RunningOperator, world: World, until: Any
) -> None:
    await judge_new_sets(world, "https://127.0.0.1:9/judge")
    try:
        await until(functools.partial(hook_is_asked, world))
        await world.create_secret()
        await world.create_job()
        await until(operator.known)
        await operator.a_pass()
        waits = await world.condition("Reconciling")
        assert (waits["status"], waits["reason"]) == ("True", "ChildNotWritten")
        assert 'failed calling webhook "sets.example.com"' in waits["message"]
        assert (await world.condition("Stalled"))["status"] == "False", "no person must act"
        assert await world.token() is not None
        assert await world.sizes() == {}
        assert len(await events(world, "ChildNotWritten")) == 1
    finally:
        await drop(world, WEBHOOK)

    async def made() -> bool:
        operator.ahead += MAX_SECONDS
        await operator.a_pass()
        return len(await world.sizes()) == 4

    await until(made)
    await operator.a_pass()
    assert (await world.condition("Ready"))["reason"] == "PodsNotReady"


async def hook_is_asked(world: World) -> bool:
    """Whether the API server has heard of the webhook."""
    try:
        await try_new_set(world)
    except KubeError as error:
        return "failed calling webhook" in str(error)
    return False


async def test_a_token_with_a_newline_stalls_the_job_with_a_sentence(
    operator: RunningOperator, world: World
) -> None:
    await operator.settle()
    await world.patch(SECRET, "j-auth", {"stringData": {"token": "s3cret\n"}})
    operator.ahead += 1000.0
    await operator.a_pass()
    stalled = await world.condition("Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "TokenMissing")
    assert "a character that no HTTP header can carry, such as a newline" in stalled["message"]
    assert "s3cret" not in stalled["message"]


async def test_a_child_that_is_refused_is_sent_again_ever_more_rarely(
    operator: RunningOperator, world: World, recorder: Recorder, until: Any
) -> None:
    """Nothing changes before a person acts; a refused PATCH costs the API server a whole check."""
    await operator.settle()
    await forbid_changed_sets(world, until)
    operator.stop_clock()
    try:
        await world.edit(rollout={"replicas": (await world.sizes())["j-rollout"] + 1})

        async def refused() -> bool:
            await operator.a_pass()
            return (await world.condition("Stalled"))["reason"] == "ChildRejected"

        await until(refused)
        recorder.requests.clear()
        for _ in range(3):
            await operator.a_pass()
        assert not any("statefulsets/j-rollout" in one for one in recorder.requests)
        operator.ahead += MAX_SECONDS
        await operator.a_pass()
        assert any("statefulsets/j-rollout" in one for one in recorder.requests)
    finally:
        await drop(world, BINDING)
        await drop(world, POLICY)


@pytest.mark.parametrize("error", [RejectedError, UnavailableError])
async def test_whatever_single_request_of_a_first_pass_fails_the_rest_is_done_and_the_next_heals(
    operator: RunningOperator, world: World, recorder: Recorder, error: type[KubeError], until: Any
) -> None:
    await world.create_secret()
    await world.create_job()
    await until(operator.known)
    await operator.a_pass()
    asked = [one.replace("/j", "/JOB") for one in recorder.requests]
    assert len(asked) >= 13
    for number, pattern in enumerate(asked):
        name = f"x{number}"
        wanted = pattern.replace("/JOB", f"/{name}")
        await world.create_job(name)
        operator.key = (world.namespace, name)
        await until(operator.known)
        operator.ahead += MAX_AGE_SECONDS  # no Secret is known any more
        recorder.refuse = lambda request, wanted=wanted: (  # type: ignore[misc]
            error(f"the server's words on {request}") if request == wanted else None
        )
        await operator.a_pass()
        words = f"the server's words on {wanted}"
        if wanted.endswith("/status"):
            (said,) = await events(world, "StatusNotWritten")
            assert words in said
        elif not wanted.endswith("/events"):  # those are for people: nothing depends on them
            assert words in str(await world.condition("Ready", name))
        recorder.refuse = lambda request: None
        operator.ahead += MAX_SECONDS
        await operator.a_pass()
        assert len(await world.sizes(name)) == 4, wanted
        await operator.a_pass()
        assert (await world.condition("Ready", name))["reason"] == "PodsNotReady", wanted
