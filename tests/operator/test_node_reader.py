"""Kinds of GPUs by the labels of nodes, how many there are, and which nodes are dead."""

import asyncio
from typing import Any

import pytest

from sea_api.contract import GPU_MEMORY_LABEL, GPU_PRODUCT_LABEL
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.policy import Role
from sea_api.wire.coordinator_spec import NodeGpu
from sea_operator.errors import NotFoundError, RejectedError
from sea_operator.kube.client import NODE, Kind
from sea_operator.node_reader import (
    COUNT_SECONDS,
    KIND_SECONDS,
    NodeReader,
    common,
    selectors,
)
from sea_operator.observed import GPUNode

H100 = {GPU_PRODUCT_LABEL: "NVIDIA-H100-80GB-HBM3", GPU_MEMORY_LABEL: "81559"}
A100 = {GPU_PRODUCT_LABEL: "NVIDIA-A100-SXM4-80GB", GPU_MEMORY_LABEL: "81920"}
SEEN = NodeGpu(product="NVIDIA-H100-80GB-HBM3", memory_mib=81559)


class Server:
    """Answers lists of nodes; counts them."""

    def __init__(self, *labels: dict[str, str], error: Exception | None = None) -> None:
        self.labels, self.error = list(labels), error
        self.asked: list[str] = []

    async def request(self, method: str, path: str, query: Any) -> Any:
        assert (method, path) == ("GET", "/api/v1/nodes")
        self.asked.append(dict(query)["labelSelector"])
        if self.error:
            raise self.error
        return {"items": [{"metadata": {"labels": one}} for one in self.labels]}


def spec(**changes: Any) -> Spec:
    return Spec.model_validate(
        {
            "model": {"name": "m", "source": "s3://b/m"},
            "storage": {"url": "s3://bucket/run"},
            "data": {"rl": ["s3://b/rl.jsonl"]},
            "domains": ["shop"],
            "stages": [{"name": "rl", "type": "RL", "rl": {}}],
            "userModel": {"gpusPerPod": 0},
            **changes,
        }
    )


def reader(server: Server, clock: list[float]) -> NodeReader:
    return NodeReader(server, lambda: clock[0])  # type: ignore[arg-type]


async def test_roles_with_one_selector_cost_one_list_in_ten_minutes() -> None:
    server, clock = Server(H100, H100), [0.0]
    gpus = reader(server, clock)
    for _ in range(3):
        assert await gpus.kinds(spec()) == {"trainer": SEEN, "rollout": SEEN}
    assert server.asked == [GPU_PRODUCT_LABEL]
    clock[0] = KIND_SECONDS
    await gpus.kinds(spec())
    assert server.asked == [GPU_PRODUCT_LABEL] * 2


async def test_each_selector_is_asked_for() -> None:
    server = Server(H100)
    wanted = spec(
        trainer={"template": {"nodeSelector": {"pool": "train"}}},
        scheduling={"nodeSelector": {"zone": "a"}},
    )
    await reader(server, [0.0]).kinds(wanted)
    assert server.asked == [f"pool=train,zone=a,{GPU_PRODUCT_LABEL}", f"zone=a,{GPU_PRODUCT_LABEL}"]


async def test_pods_without_gpus_ask_for_nothing() -> None:
    server = Server(H100)
    roles = {"trainer": {"gpusPerPod": 0}, "rollout": {"gpusPerPod": 0}}
    assert await reader(server, [0.0]).kinds(spec(**roles)) == {}
    assert server.asked == []


async def test_without_the_right_to_list_nothing_is_known() -> None:
    server = Server(error=RejectedError("nodes is forbidden"))
    assert await reader(server, [0.0]).kinds(spec()) == {}
    assert len(server.asked) == 1


async def test_an_outage_forgets_nothing() -> None:
    server, clock = Server(H100), [0.0]
    gpus = reader(server, clock)
    before = await gpus.kinds(spec())
    server.labels, clock[0] = [], KIND_SECONDS
    assert await gpus.kinds(spec()) == before


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        ([H100, H100], SEEN),
        ([H100, A100], None),
        ([{GPU_PRODUCT_LABEL: "NVIDIA-H200"}], NodeGpu(product="NVIDIA-H200")),
        ([{}], None),
        ([], None),
    ],
)
def test_nodes_of_several_kinds_are_none(labels: Any, kind: NodeGpu | None) -> None:
    assert common(labels) == kind


def test_a_user_model_has_nodes_of_its_own() -> None:
    found = selectors(spec(userModel={"gpusPerPod": 4, "engine": "VLLM"}))
    assert {role.value for role in found} == {"Trainer", "Rollout", "User"}


class AllNodes:
    """Nodes, as the API server lists them."""

    def __init__(self) -> None:
        self.lists = 0
        self.refuses = False

    async def list(self, *_: Any) -> list[dict[str, Any]]:
        self.lists += 1
        await asyncio.sleep(0)
        if self.refuses:
            raise RejectedError("nodes is forbidden")
        gpus = {"status": {"capacity": {"nvidia.com/gpu": "8", "cpu": "64"}}}
        return [
            {"metadata": {"name": "a", "labels": {"x": "y"}}, **gpus},
            {"metadata": {"name": "b"}, "status": {"capacity": {"cpu": "64"}}},
            {"metadata": {"name": "c"}},
        ]


async def test_many_passes_share_one_list_for_a_while() -> None:
    server, now = AllNodes(), 1000.0
    reader = NodeReader(server, lambda: now, fixed=True)  # type: ignore[arg-type]
    found = await asyncio.gather(*(reader.with_gpus() for _ in range(5)))
    assert found == [(GPUNode({"x": "y"}, 8),)] * 5
    assert server.lists == 1
    now += COUNT_SECONDS
    await reader.with_gpus()
    assert server.lists == 2


async def test_without_the_right_to_list_nodes_nothing_is_known() -> None:
    server = AllNodes()
    server.refuses = True
    reader = NodeReader(server, lambda: 1000.0, fixed=True)  # type: ignore[arg-type]
    assert await reader.with_gpus() is None
    assert await reader.with_gpus() is None
    assert server.lists == 1, "it isn't asked at each pass"


async def test_where_an_autoscaler_adds_nodes_they_are_not_counted() -> None:
    server = AllNodes()
    assert await NodeReader(server, lambda: 1000.0).with_gpus() is None  # type: ignore[arg-type]
    assert server.lists == 0


class SomeNodes:
    """One node whose kubelet talks, one that is silent, one that can't be read; no other."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def get(self, kind: Kind, namespace: str | None, name: str) -> dict[str, Any]:
        assert kind is NODE
        self.asked.append(name)
        if name == "unreadable":
            raise RejectedError("nodes is forbidden")
        if name not in ("well", "silent"):
            raise NotFoundError(name)
        ready = {"type": "Ready", "status": "True" if name == "well" else "Unknown"}
        return {"metadata": {"name": name}, "status": {"conditions": [ready]}}


async def test_only_nodes_of_pods_that_should_be_gone_or_cannot_report_are_read(make: Any) -> None:
    server = SomeNodes()
    names = ("well", "silent", "gone", "unreadable")
    leaving = [make.pod(name, Role.TRAINER, node=name, deleted=make.now) for name in names]
    others = [
        make.pod("p", Role.ROLLOUT, node="other"),
        make.pod("q", Role.USER, node=None),
        make.pod("r", Role.ROLLOUT, node="silent", cut_off=True),
    ]
    reader = NodeReader(server, lambda: 0.0)  # type: ignore[arg-type]
    found = await reader.dead([*leaving, *others])
    assert set(found) == {"silent", "gone"}
    assert sorted(server.asked) == sorted(names), "each once"
