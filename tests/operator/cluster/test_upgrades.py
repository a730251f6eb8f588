"""Operator and CRD go up and down under running jobs: from the golden copies of each release.

On a control plane of its own, since the CRD is the cluster's.
"""

import copy
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from sea_api.contract import MADE_BY_ANNOTATION
from sea_api.v1alpha1.status import Status
from sea_devcluster.api import KubeApi
from sea_devcluster.controlplane import ControlPlane
from sea_operator import parsing, settings
from sea_operator.cache import Cache
from sea_operator.errors import RejectedError
from sea_operator.kube.client import APPLY, EVENT, JOB, SECRET, SERVICE, STATEFUL_SET
from sea_operator.kube.connection import FIELD_MANAGER
from sea_operator.resources import pod as pod_builder
from sea_operator.resources.build import token_digest, token_secret
from sea_operator.settings import Images
from sea_operator.status_writer import StatusWriter
from sea_testing.crd_install import PATIENCE, install_crd
from sea_testing.merge_patch import merged
from sea_testing.operator_client import Recorder
from sea_testing.operator_world import Clock, World

pytestmark = pytest.mark.cluster

GOLDEN = Path(__file__).parents[2] / "releases"
RELEASES = sorted(folder.name for folder in GOLDEN.iterdir() if folder.is_dir())
NEWER = Images(trainer="registry.example/trainer:2", rollout="registry.example/rollout:2")
KINDS = {"Service": SERVICE, "StatefulSet": STATEFUL_SET}
CRD_FILE = "crds/sea-operator.io_seatrainingjobs.yaml"

Pass = Callable[..., Awaitable[float | None]]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path_factory.mktemp("upgrades")) as plane:
        yield plane


@pytest.fixture(scope="module")
def kubeconfig(plane: ControlPlane) -> Path:
    return plane.kubeconfig


@pytest.fixture(scope="module")
def kube(plane: ControlPlane) -> KubeApi:
    return KubeApi(plane.url, plane.ca_file, plane.token, timeout=PATIENCE)


@pytest.fixture(scope="session")
def today(root: Path) -> dict[str, Any]:
    """The CRD of this tree."""
    manifest: dict[str, Any] = yaml.safe_load((root / CRD_FILE).read_text())
    return manifest


@pytest.fixture
def crd(kube: KubeApi, today: dict[str, Any]) -> dict[str, Any]:
    return install_crd(kube, today)


@pytest.fixture
def operator(reconcile: Callable[..., Awaitable[float | None]]) -> Pass:
    """`operator(world, images)`: one pass of an operator that started this very moment."""

    async def one_pass(world: World, images: Images | None = None) -> float | None:
        return await reconcile(world, images=images)

    return one_pass


class Release:
    """The golden copy of a release."""

    def __init__(self, version: str) -> None:
        self.folder = GOLDEN / version

    def crd(self) -> dict[str, Any]:
        manifest: dict[str, Any] = yaml.safe_load((self.folder / "crd.yaml").read_text())
        return manifest

    def job(self) -> dict[str, Any]:
        body: dict[str, Any] = yaml.safe_load((self.folder / "job.yaml").read_text())
        return body

    def children(self, world: World, uid: str, token: str) -> list[dict[str, Any]]:
        text = (self.folder / "children.yaml").read_text()
        values = {
            "JOB-": "j-",
            ": JOB": ": j",
            "NAMESPACE": world.namespace,
            ": UID": f": {uid}",
            "TOKEN-DIGEST": token_digest(token),
        }
        for placeholder, value in values.items():
            text = text.replace(placeholder, value)
        return list(yaml.safe_load_all(text))


async def run_release(world: World, release: Release, patch: dict[str, Any] | None = None) -> None:
    """What an operator of the release has made and reported, with its pods running."""
    golden = merged(release.job(), {"spec": patch or {}})
    created = await world.client.create(
        JOB, world.namespace, {**golden, "metadata": {"name": "j", "namespace": world.namespace}}
    )
    job = parsing.job(created)
    await world.create_secret()
    await world.client.create(SECRET, world.namespace, token_secret(job, "token-of-old"))
    for child in release.children(world, job.uid, "token-of-old"):
        await world.client.apply(KINDS[child["kind"]], child)
    await apply_status(world, golden)
    await world.run_pods()


async def apply_status(world: World, golden: dict[str, Any]) -> None:
    """As operators of release 0.1.0 do it: all of it, with one server-side apply."""
    meta = {"name": "j", "namespace": world.namespace}
    body = {key: golden[key] for key in ("apiVersion", "kind", "status")} | {"metadata": meta}
    query = [("fieldManager", FIELD_MANAGER), ("force", "true")]
    path = JOB.path(world.namespace, "j", "status")
    await world.client.request("PATCH", path, query, body, APPLY)


async def uids(world: World) -> set[str]:
    pods = [pod for pod in await world.pods() if "deletionTimestamp" not in pod["metadata"]]
    return {pod["metadata"]["uid"] for pod in pods}


async def images(world: World) -> dict[str, str]:
    """Of the main container of each StatefulSet."""
    sets = await world.client.list(STATEFUL_SET, world.namespace, "sea-operator.io/job=j")
    return {
        one["metadata"]["name"]: one["spec"]["template"]["spec"]["containers"][0]["image"]
        for one in sets
    }


async def revisions(world: World) -> dict[str, int]:
    """Generations of the sets: they move with each change of a template or a size."""
    sets = await world.client.list(STATEFUL_SET, world.namespace, "sea-operator.io/job=j")
    return {one["metadata"]["name"]: one["metadata"]["generation"] for one in sets}


async def settle(world: World, operator: Pass, images: Images | None = None) -> None:
    await operator(world, images)
    await world.run_pods()
    for _ in range(3):
        await operator(world, images)


@pytest.mark.parametrize("version", RELEASES)
async def test_jobs_of_a_release_run_on_under_this_operator_and_its_crd(
    version: str, kube: KubeApi, today: dict[str, Any], world: World, operator: Pass
) -> None:
    """First the operator, then the CRD, then the CRD back: no pod goes, status goes on."""
    release = Release(version)
    install_crd(kube, release.crd())
    await run_release(world, release)
    before, generations = await uids(world), await revisions(world)
    for number, crd in enumerate((release.crd(), today, release.crd())):
        install_crd(kube, crd)
        world.coordinators["j"].complete("sft", running="rl", step=20 + number)
        for _ in range(3):
            await operator(world)
        assert await uids(world) == before
        assert await revisions(world) == generations
        status = await world.status()
        assert (status["progress"], status["trainerAttempt"]) == (f"{20 + number}/40", 3)
        assert status["restarts"]["counted"] == 1
        assert (await world.condition("UpdateWaiting"))["status"] == "True"
        assert (await world.condition("Ready"))["reason"] == "Running"
    assert world.coordinators["j"].specs[-1].attempt == 3


@pytest.mark.parametrize("version", RELEASES)
async def test_two_releases_write_the_status_of_a_job_in_turn(
    version: str, crd: dict[str, Any], world: World, operator: Pass
) -> None:
    """Under this CRD, as while the operator is rolled back and upgraded again."""
    release = Release(version)
    await run_release(world, release)
    before = await uids(world)
    for step in (21, 22):
        world.coordinators["j"].complete("sft", running="rl", step=step)
        for _ in range(2):
            await operator(world)
        status = await world.status()
        assert (status["progress"], status["trainerAttempt"]) == (f"{step}/40", 3)
        assert status["state"] == "Running"
        await apply_status(world, release.job())
        assert (await world.status())["progress"] == "12/40", "the older one's word holds"
    assert await uids(world) == before


RESIZES = [{"role": role, "action": "Resize"} for role in ("Trainer", "Rollout")]
OLDER: dict[str, Any] = {
    "model": {"contextLength": 4096},
    "rollout": {"gpusPerPod": 8},
    "stages": [
        {"name": "sft", "type": "SFT", "sft": {}},
        {"name": "rl", "type": "RL", "rl": {"temperature": 5}},
        {"name": "eval", "type": "Evaluation", "evaluation": {}},
    ],
    "failurePolicy": {"rules": RESIZES},
}
"""What release 0.1.0 admitted and today's rules refuse: engines that use one of eight GPUs (its
default), turns as long as the context, Resize without a range or for engines, a hot temperature."""


async def test_a_job_that_breaks_rules_of_this_release_runs_on_and_can_be_edited(
    kube: KubeApi, today: dict[str, Any], world: World, operator: Pass
) -> None:
    release = Release("0.1.0")
    install_crd(kube, release.crd())
    await run_release(world, release, OLDER)
    before, generations = await uids(world), await revisions(world)
    install_crd(kube, today)
    world.coordinators["j"].complete("sft", running="rl", step=20)
    for _ in range(3):
        await operator(world)
    assert await uids(world) == before
    assert await revisions(world) == generations
    assert (await world.condition("Ready"))["reason"] == "Running"
    warning = await world.condition("SpecWarning")
    assert warning["reason"] == "OlderRules"
    for words in ("tensor must be gpusPerPod", "only the trainer is resized", "at most 2"):
        assert words in warning["message"]
    assert world.coordinators["j"].specs[-1].spec.rollout.parallelism.tensor == 1

    # What others do to each running job: a person, `kubectl scale` or an autoscaler, a queue.
    await world.edit(checkpoint={"everySteps": 5})
    await world.edit(rollout={"replicas": 2})
    await operator(world)
    assert (await world.sizes())["j-rollout"] == 2
    # Nothing else may be broken, and what was corrected may not be broken again.
    with pytest.raises(RejectedError, match="world size"):
        await world.edit(trainer={"parallelism": {"tensor": 3}})
    await world.edit(failurePolicy={"rules": []}, suspend=True)
    with pytest.raises(RejectedError, match="only the trainer is resized"):
        await world.edit(failurePolicy={"rules": RESIZES})
    with pytest.raises(RejectedError, match=r"add trainer\.elastic"):
        await world.edit(failurePolicy={"rules": RESIZES[:1]})
    stranger = merged(release.job(), {"spec": OLDER, "metadata": {"name": "new"}})
    stranger["metadata"]["namespace"] = world.namespace
    with pytest.raises(RejectedError, match=r"add trainer\.elastic"):
        await world.client.create(JOB, world.namespace, stranger)


async def test_other_defaults_wait_for_a_resume_and_the_status_says_so(
    crd: dict[str, Any],
    world: World,
    operator: Pass,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another image, and another detail of the code that makes pods."""
    await world.create_secret()
    await world.create_job()
    await settle(world, operator)
    before, generations = await uids(world), await revisions(world)
    monkeypatch.setattr(pod_builder, "GRACE_SECONDS", 45)
    monkeypatch.setattr(settings, "code_digest", lambda: "another revision")
    settings.revision.cache_clear()
    for _ in range(3):
        await operator(world, NEWER)
    assert await uids(world) == before
    assert await revisions(world) == generations
    notice = await world.condition("UpdateWaiting")
    assert "registry.example/trainer:2" in notice["message"]
    events = await world.client.list(EVENT, world.namespace, "")
    assert [event["reason"] for event in events].count("UpdateWaiting") == 1
    recorder.writes.clear()
    await operator(world, NEWER)
    assert recorder.writes == []
    # An edit of something that no pod is made from, and a size: neither is an update.
    await world.edit(failurePolicy={"budget": {"restarts": 7}}, rollout={"replicas": 2})
    for _ in range(2):
        await operator(world, NEWER)
    assert before <= await uids(world)
    assert "trainer:latest" in (await images(world))["j-trainer"]
    await suspend_and_resume(world, operator)
    assert (await images(world))["j-trainer"] == NEWER.trainer
    assert (await images(world))["j-rollout"] == NEWER.rollout
    sets = await world.client.list(STATEFUL_SET, world.namespace, "sea-operator.io/job=j")
    graces = {
        s["metadata"]["name"]: s["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        for s in sets
    }
    assert graces.pop("j-trainer") == pod_builder.TRAINER_GRACE_SECONDS
    assert set(graces.values()) == {45}
    assert (await world.condition("UpdateWaiting"))["status"] == "Absent"
    settings.revision.cache_clear()


async def suspend_and_resume(world: World, operator: Pass) -> None:
    await world.edit(suspend=True)
    await operator(world, NEWER)
    world.coordinators["j"].change(drained=True)
    await operator(world, NEWER)
    assert "resumed" in (await world.condition("UpdateWaiting"))["message"]
    await operator(world, NEWER)
    assert "trainer:latest" in (await images(world))["j-trainer"]
    await world.edit(suspend=False)
    await operator(world, NEWER)


async def test_a_rollback_of_the_operator_before_the_update_changes_nothing(
    crd: dict[str, Any], world: World, operator: Pass
) -> None:
    await world.create_secret()
    await world.create_job()
    await settle(world, operator)
    before, generations = await uids(world), await revisions(world)
    for which in (NEWER, Images(), NEWER, Images()):
        await operator(world, which)
        await operator(world, which)
        assert await uids(world) == before
        assert await revisions(world) == generations
    assert (await world.condition("UpdateWaiting"))["status"] == "Absent"


async def test_an_edit_that_changes_a_pod_brings_the_update_to_all_roles(
    crd: dict[str, Any], world: World, operator: Pass
) -> None:
    await world.create_secret()
    await world.create_job()
    await settle(world, operator)
    await operator(world, NEWER)
    await world.edit(rollout={"template": {"env": [{"name": "X", "value": "1"}]}})
    await operator(world, NEWER)
    found = await images(world)
    assert (found["j-trainer"], found["j-rollout"]) == (NEWER.trainer, NEWER.rollout)


async def test_the_trainers_next_attempt_brings_the_update(
    crd: dict[str, Any], world: World, operator: Pass, clock: Clock
) -> None:
    await world.create_secret()
    await world.create_job()
    await settle(world, operator)
    await operator(world, NEWER)
    clock.ahead = 600
    world.coordinators["j"].fail(time=clock())
    await operator(world, NEWER)
    assert (await world.status())["trainerAttempt"] == 2
    assert (await images(world))["j-trainer"] == NEWER.trainer


async def test_a_record_is_on_each_set_from_the_start(
    crd: dict[str, Any], world: World, operator: Pass
) -> None:
    await world.create_secret()
    await world.create_job()
    await operator(world)
    sets = await world.client.list(STATEFUL_SET, world.namespace, "sea-operator.io/job=j")
    revision = settings.revision(Images())
    for one in sets:
        assert one["metadata"]["annotations"][MADE_BY_ANNOTATION].startswith(f"{revision}.")


def newer_crd(manifest: dict[str, Any]) -> dict[str, Any]:
    """A CRD with fields that this operator doesn't know."""
    changed = copy.deepcopy(manifest)
    schema = changed["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    whole = {"type": "integer"}
    schema["spec"]["properties"]["novel"] = whole
    schema["spec"]["properties"]["rollout"]["properties"]["novel"] = whole
    schema["status"]["properties"]["novel"] = whole
    schema["status"]["properties"]["restarts"]["properties"]["novel"] = whole
    return changed


async def test_an_older_operator_under_a_newer_crd_reports_and_names_what_it_ignores(
    kube: KubeApi, today: dict[str, Any], crd: dict[str, Any], world: World, operator: Pass
) -> None:
    install_crd(kube, newer_crd(today))
    await world.create_secret()
    await world.create_job(novel=1, rollout={"novel": 2})
    await world.patch(JOB, "j", {"status": {"novel": 3, "restarts": {"novel": 4}}}, "status")
    await settle(world, operator)
    assert (await world.condition("Ready"))["status"] == "True"
    notice = await world.condition("FieldsIgnored")
    for field in ("spec.novel", "spec.rollout.novel", "status.novel", "status.restarts.novel"):
        assert field in notice["message"]
    status = await world.status()
    assert (status["novel"], status["restarts"]["novel"]) == (3, 4)
    assert (await world.job())["spec"]["novel"] == 1


class NewerStatus(Status):
    """The status of a release to come."""

    novel: int | None = None


async def test_a_newer_operator_under_an_older_crd_goes_on_reporting(
    crd: dict[str, Any], world: World, recorder: Recorder
) -> None:
    """The server drops what it doesn't know; that isn't written again and again."""
    await world.create_job()
    sources: Any = SimpleNamespace(client=recorder, cache=Cache(lambda key: None))
    statuses = StatusWriter(sources, "test")
    newer = NewerStatus(stage="rl", novel=5)

    async def write(status: Status) -> bool:
        """Whether anything was sent."""
        recorder.writes.clear()
        await statuses.write(parsing.job(await world.job()), status)
        return bool(recorder.writes)

    assert await write(newer)
    assert not await write(newer)
    assert await write(newer.model_copy(update={"stage": "eval"}))
    assert not await write(newer.model_copy(update={"stage": "eval"}))
    await world.patch(JOB, "j", {"metadata": {"annotations": {"of": "another"}}})
    assert not await write(newer.model_copy(update={"stage": "eval"}))
    status = await world.status()
    assert (status["stage"], "novel" in status) == ("eval", False)


async def test_no_edit_leaves_an_empty_object_in_place_of_one_with_fields(
    crd: dict[str, Any], world: World, operator: Pass
) -> None:
    """The server would make null of it, and refuse the StatefulSet for ever."""
    await world.create_secret()
    full = {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}, "nodeSelector": {"pool": "a"}}
    await world.create_job(trainer={"template": full}, scheduling={"nodeSelector": {"zone": "b"}})
    await settle(world, operator)
    empty = dict.fromkeys(full, None)
    await world.edit(trainer={"template": empty}, scheduling={"nodeSelector": None})
    await operator(world)
    assert (await world.condition("Stalled"))["status"] == "False"
    live = await world.client.get(STATEFUL_SET, world.namespace, "j-trainer")
    template = live["spec"]["template"]["spec"]
    resources = template["containers"][0].get("resources", {})
    assert resources.get("requests", {}).get("cpu") != "1"
    assert "memory" not in resources.get("limits", {})
    assert "nodeSelector" not in template


async def test_an_invalid_job_loses_its_roles_in_the_status_and_goes_on_being_reported(
    kube: KubeApi, today: dict[str, Any], crd: dict[str, Any], world: World, operator: Pass
) -> None:
    """A stage type of a newer release: a sentence, and no pod goes."""
    await world.create_secret()
    await world.create_job()
    await settle(world, operator)
    before = await uids(world)
    changed = copy.deepcopy(today)
    schema = changed["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    schema["properties"]["rollout"]["properties"]["replicas"]["maximum"] = 20000
    install_crd(kube, changed)
    await world.edit(rollout={"replicas": 15000})
    for _ in range(2):
        await operator(world)
    assert (await world.condition("Stalled"))["reason"] == "InvalidSpec"
    assert (await world.status())["observedGeneration"] == 2
    assert await uids(world) == before
    await world.edit(rollout={"replicas": 1})
