"""Kinds of GPUs by the labels of nodes, listed once per selector."""

from typing import Any

import pytest

from sea_api.v1alpha1.job import Spec
from sea_api.wire.coordinator_spec import NodeGpu
from sea_operator.errors import RejectedError
from sea_operator.gpu_reader import INTERVAL_SECONDS, PRODUCT, GpuReader, common, selectors

H100 = {PRODUCT: "NVIDIA-H100-80GB-HBM3", "nvidia.com/gpu.memory": "81559"}
A100 = {PRODUCT: "NVIDIA-A100-SXM4-80GB", "nvidia.com/gpu.memory": "81920"}
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


def reader(server: Server, clock: list[float]) -> GpuReader:
    return GpuReader(server, lambda: clock[0])  # type: ignore[arg-type]


async def test_roles_with_one_selector_cost_one_list_in_ten_minutes() -> None:
    server, clock = Server(H100, H100), [0.0]
    gpus = reader(server, clock)
    for _ in range(3):
        assert await gpus.kinds(spec()) == {"trainer": SEEN, "rollout": SEEN}
    assert server.asked == [PRODUCT]
    clock[0] = INTERVAL_SECONDS
    await gpus.kinds(spec())
    assert server.asked == [PRODUCT] * 2


async def test_each_selector_is_asked_for() -> None:
    server = Server(H100)
    wanted = spec(
        trainer={"template": {"nodeSelector": {"pool": "train"}}},
        scheduling={"nodeSelector": {"zone": "a"}},
    )
    await reader(server, [0.0]).kinds(wanted)
    assert server.asked == [f"pool=train,zone=a,{PRODUCT}", f"zone=a,{PRODUCT}"]


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
    server.labels, clock[0] = [], INTERVAL_SECONDS
    assert await gpus.kinds(spec()) == before


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        ([H100, H100], SEEN),
        ([H100, A100], None),
        ([{PRODUCT: "NVIDIA-H200"}], NodeGpu(product="NVIDIA-H200")),
        ([{}], None),
        ([], None),
    ],
)
def test_nodes_of_several_kinds_are_none(labels: Any, kind: NodeGpu | None) -> None:
    assert common(labels) == kind


def test_a_user_model_has_nodes_of_its_own() -> None:
    found = selectors(spec(userModel={"gpusPerPod": 4, "engine": "VLLM"}))
    assert {role.value for role in found} == {"Trainer", "Rollout", "User"}
