"""What the node agent tells the API server is not lost silently when a request fails."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from sea_devcluster.errors import ApiError, ApiUnreachableError
from sea_devcluster.node.events import EventRecorder
from sea_devcluster.node.kube_json import utc_now
from sea_devcluster.node.registration import NodeRegistration

POD = {"metadata": {"name": "p", "namespace": "n", "uid": "u"}}
CONFLICT = ApiError(409, "AlreadyExists", "It exists.")


class Api:
    """Answers requests with errors in the given order, then with success."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.calls = list(errors), list[str]()
        self.enough = asyncio.Event()

    async def create(self, *_: Any) -> None:
        self._answer("create")

    async def patch(self, *_: Any) -> None:
        self._answer("patch")

    def _answer(self, call: str) -> None:
        self.calls.append(call)
        if len(self.calls) == 3:
            self.enough.set()
        if self.errors:
            raise self.errors.pop(0)


@pytest.mark.parametrize(
    ("errors", "calls"),
    [
        ([], ["create", "patch"]),
        ([ApiUnreachableError("No answer.")], ["create", "create"]),
        ([ApiError(500, "Internal", "Broken.")], ["create", "create"]),
        ([CONFLICT], ["create", "patch"]),
    ],
)
async def test_an_event_is_patched_once_it_exists(
    errors: list[Exception], calls: list[str]
) -> None:
    api: Any = Api(*errors)
    recorder = EventRecorder(api, "node", utc_now)
    event = recorder._event(POD, "Warning", "Failed", "It failed.", "")
    event["count"] = 1
    for _ in calls:
        try:
            await recorder._write(event)
        except (ApiError, ApiUnreachableError):
            continue
    assert api.calls == calls


async def test_a_heartbeat_that_is_refused_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    api: Any = Api(*[ApiError(403, "Forbidden", "nodes is forbidden")] * 9)
    config: Any = SimpleNamespace(heartbeat_seconds=0.0, node_name="node-1")
    registration = NodeRegistration(api, config, 1, utc_now)
    task = asyncio.create_task(registration.run())
    async with asyncio.timeout(10):
        await api.enough.wait()
    task.cancel()
    assert "Heartbeat of node node-1 failed" in caplog.text
