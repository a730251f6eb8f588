"""Wrong types, nonsense numbers and damaged bodies on every route: refused, never a 500."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from sea_runtime.client import calls
from sea_runtime.coordinator import app, evaluation
from sea_runtime.coordinator.ledger import registry
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.wire.rollouts import Lease
from sea_testing.coordinator import inprocess as kit

BEARER = {"Authorization": "Bearer token"}
LEASE = "rl-000000.0.1.EPOCH"

NUMBERS = [
    "",
    "x",
    "nan",
    "inf",
    "-inf",
    "-1",
    "1.5",
    "1e400",
    "9" * 19,
    "9" * 30,
    "9" * 5000,
    "%00",
]
NAMES = ["..", "%ff", "%00", "%F0%9F%92%A9", "x" * 5000]
VALUES: list[Any] = [
    *(None, True, -1, 2**63, -(2**63) - 1, 10**40, 1.5, 1e300, float("nan"), float("inf")),
    *("", "nan", "\x00", "\U0001f4a9", "x" * 5000, [], [None], {}, {"": None}, [[[[]]]]),
]
GARBAGE = [
    b"",
    b"{",
    b"null",
    b"[]",
    b"\xff\xfe",
    b'{"pod": "\\ud800"}',
    b"[" * 100_000,
    b"1" * 5000,
]

QUERIES = [
    ("GET", "/v1/model?stream={}"),
    ("GET", "/v1/trainer/task?attempt={}"),
    ("GET", "/v1/stages/rl/batches/{}?attempt=1"),
    ("GET", "/v1/stages/rl/batches/1?attempt={}"),
    ("POST", "/v1/stages/rl/snapshot?step={}&attempt=1"),
    ("POST", "/v1/stages/rl/snapshot?step=1&attempt={}"),
    ("GET", "/v1/weights/policy?after={}"),
    ("GET", "/v1/weights/policy?after=0&wait={}"),
    ("GET", "/v1/weights/{}?after=0"),
    ("GET", "/v1/stages/{}/batches/1?attempt=1"),
    ("POST", "/v1/stages/{}/snapshot?step=0&attempt=1"),
]


def bodies() -> dict[str, dict[str, Any]]:
    """A good body of every route that takes JSON."""
    beat = kit.beat("trainer-0", "trainer", "life", attempt=1, adopted=0)
    known = {"pod": "rollout-0", "incarnation": "life"}
    return {
        "PUT /v1/spec": kit.desired(kit.spec()).model_dump(mode="json", by_alias=True),
        "POST /v1/heartbeat": beat.model_dump(mode="json"),
        "POST /v1/leases": {**known, "want": 2, "holding": [LEASE]},
        f"POST /v1/leases/{LEASE}/release": known,
        "POST /v1/stages/rl/progress": {
            "attempt": 1,
            "step": 1,
            "total_steps": 3,
            "metrics": {"loss": 1.0, "tokens": 5.0, "reward": 0.5, "train_s": 1.0},
        },
        "POST /v1/stages/rl/checkpoints": {
            "attempt": 1,
            "step": 0,
            "version": 0,
            "bytes": 5,
            "manifest_key": "x/y/m.json",
        },
        "POST /v1/stages/rl/done": {"attempt": 1, "step": 3},
        "POST /v1/weights/policy": kit.version(1).model_dump(mode="json"),
        "POST /v1/weights/policy/adopted": {
            "pod": "rollout-0",
            "version": 1,
            "transport": "NIXL",
            "transfer_s": 1.0,
            "apply_s": 1.0,
            "pause_s": 1.0,
        },
        "POST /v1/weights/policy/wrong": {"pod": "rollout-0", "version": 1, "tensors": ["a"]},
    }


def changed(good: Any, depth: int = 3) -> Iterator[Any]:
    """The value with one part of it, at any depth, replaced by nonsense, left out, or added to."""
    yield from VALUES
    if depth and isinstance(good, dict):
        for key, value in good.items():
            yield {name: other for name, other in good.items() if name != key}
            for nonsense in changed(value, depth - 1):
                yield {**good, key: nonsense}
        yield {**good, "unknown": 1}
    if depth and isinstance(good, list) and good:
        yield from ([nonsense, *good[1:]] for nonsense in changed(good[0], depth - 1))


class Asked:
    """A coordinator behind its real routes, with no object store; what it answered with 500."""

    def __init__(self, folder: Path, spec: Any = None) -> None:
        self.folder, self.spec = folder, spec or kit.spec()
        self.faults: list[Any] = []

    async def fresh(self) -> TestClient[web.Request, web.Application]:
        """A coordinator of its own, in the middle of an RL stage."""
        store = ObjectStore(endpoint="http://127.0.0.1:9", retry_timeout=0.0)
        self.core = kit.coordinator(self.folder, kit.desired(self.spec), kit.Clock(), store)
        self.core.membership.heard(kit.beat("rollout-0", "rollout", "life", adopted=0))
        registry.publish(self.core.ledger.db, kit.version(0), 1.0)
        # No background loops: they would ask the object store.
        return TestClient(TestServer(app.serve(self.core, "token")))

    async def send(
        self, client: TestClient[web.Request, web.Application], call: str, body: bytes | None = None
    ) -> None:
        method, path = call.split(" ", 1)
        async with client.request(method, path, data=body, headers=BEARER) as reply:
            text = await reply.text()
            if reply.status == 500 or (reply.status >= 400 and len(text) < 5):
                self.faults.append((call[:80], (body or b"")[:200], reply.status, text[:200]))

    async def lease(self, client: TestClient[web.Request, web.Application]) -> Lease:
        request = {"pod": "rollout-0", "incarnation": "life", "want": 1}
        async with client.post("/v1/leases", json=request, headers=BEARER) as reply:
            (found,) = (await reply.json())["leases"]
        return Lease.model_validate(found)

    async def readable(self, client: TestClient[web.Request, web.Application]) -> None:
        """What people and the operator read is still JSON."""
        for path in ("/v1/state", "/v1/timeline", "/v1/metrics.jsonl"):
            async with client.get(path, headers=BEARER) as reply:
                assert reply.status == 200, (path, await reply.text())
                for line in (await reply.text()).splitlines() if "jsonl" in path else []:
                    json.loads(line, parse_constant=self.faults.append)
                if "jsonl" not in path:
                    json.loads(await reply.text(), parse_constant=self.faults.append)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LEASE_WAIT_SECONDS", "TASK_WAIT_SECONDS", "BATCH_WAIT_SECONDS"):
        monkeypatch.setattr(calls, name, 0.0)


@pytest.mark.parametrize(("method", "path"), QUERIES)
async def test_nonsense_in_paths_and_queries_is_refused(
    method: str, path: str, tmp_path: Path
) -> None:
    asked = Asked(tmp_path)
    async with await asked.fresh() as client:
        for text in [*NUMBERS, *NAMES]:
            await asked.send(client, f"{method} {path.format(text)}")
        await asked.readable(client)
    assert asked.faults == []


@pytest.mark.parametrize("call", sorted(bodies()))
async def test_nonsense_in_json_bodies_is_refused(call: str, tmp_path: Path) -> None:
    asked, good = Asked(tmp_path), bodies()[call]
    depth = 2 if "/v1/spec" in call else 3
    async with await asked.fresh() as client:
        for body in [*GARBAGE, *(json.dumps(one).encode() for one in changed(good, depth))]:
            await asked.send(client, call, body)
        await asked.readable(client)
    assert asked.faults == []


EVALUATION = {"name": "eval", "type": "Evaluation", "evaluation": {"trials": 512}}
TRAINING = {
    "name": "rl",
    "type": "RL",
    "rl": {"promptsPerStep": 512, "trajectoriesPerPrompt": 2, "maxConcurrentGroups": 512},
}


@pytest.mark.parametrize("stage", [TRAINING, EVALUATION], ids=["training", "evaluation"])
async def test_nonsense_in_results_is_refused(stage: dict[str, Any], tmp_path: Path) -> None:
    asked = Asked(tmp_path, kit.spec([stage]))
    async with await asked.fresh() as client:
        if stage is EVALUATION:
            running = asked.core.job.stage
            assert running is not None
            evaluation.issue(asked.core.ledger.db, running, kit.task_rows(1))
        lease = await asked.lease(client)
        kept = kit.result(lease, "rollout-0", "life", 1.0)
        good = {**msgspec.structs.asdict(kept), "details": {"DB": 1.0}, "transcript": [{"a": 1}]}
        for nonsense in [*changed(good), *({**good, "details": {"x": one}} for one in MSGPACK)]:
            named = nonsense
            if isinstance(nonsense, dict) and nonsense.get("lease_id") == lease.lease_id:
                named = {**nonsense, "lease_id": (await asked.lease(client)).lease_id}
            with contextlib.suppress(OverflowError):  # a number that msgpack has no bytes for
                body = msgspec.msgpack.encode(named)
                await asked.send(client, f"POST /v1/leases/{_lease_of(named)}/result", body)
        for body in [*GARBAGE, b"\x81\xa8lease_id\xa2\xff\xff", b"\x91" * 50_000]:
            await asked.send(client, f"POST /v1/leases/{lease.lease_id}/result", body)
        await asked.readable(client)
    assert asked.faults == []


CONTRADICTIONS: list[dict[str, Any]] = [
    {"mean_version": float("nan")},
    {"mean_version": None},
    {"generated_tokens": 1000},
    {"generated_tokens": 0},
    {"generated_tokens": -1},
    {"trajectory": b""},
    {"trajectory": {"tokens": b""}},
]


@pytest.mark.parametrize("wrong", CONTRADICTIONS, ids=str)
async def test_a_result_whose_summary_contradicts_itself_is_refused(
    wrong: dict[str, Any], tmp_path: Path
) -> None:
    """The trajectory itself is decoded by the trainer only."""
    asked = Asked(tmp_path)
    async with await asked.fresh() as client:
        lease = await asked.lease(client)
        good = msgspec.structs.asdict(kit.result(lease, "rollout-0", "life", 1.0))
        path = f"/v1/leases/{lease.lease_id}/result"
        for body, status in (({**good, **wrong}, 400), (good, 200)):
            data = msgspec.msgpack.encode(body)
            async with client.post(path, data=data, headers=BEARER) as reply:
                assert reply.status == status, await reply.text()


MSGPACK: list[Any] = [b"\xff", {b"\xff": 1}, {1: 2}, {"": {b"": b""}}, msgspec.msgpack.Ext(5, b"x")]
"""What JSON has no words for."""


def _lease_of(body: Any) -> str:
    return quote(str(body.get("lease_id", "x")) if isinstance(body, dict) else "x", safe="")
