"""How calls read the coordinator's answers, without a network."""

import pytest

from sea_runtime.client import calls
from sea_runtime.client.async_client import HeldLeases
from sea_runtime.client.calls import (
    CoordinatorUnreachableError,
    RequestRefusedError,
    StaleAttemptError,
    read_timeout,
)
from sea_runtime.wire.rollouts import EpisodeResult, LeaseRequest, Leases

RESULT = EpisodeResult("l", "p", "i", None, "broken", None, 0, 0, "", [], 0.0, {})


@pytest.mark.parametrize(
    ("call", "status", "value"),
    [
        (calls.model("policy"), 503, None),
        (calls.batch("rl", 1, 1), 204, None),
        (calls.result(RESULT), 409, False),
        (calls.result(RESULT), 200, True),
        (calls.release("l", "p", "i"), 409, None),
    ],
    ids=str,
)
def test_statuses_that_are_answers(call: calls.Call[object], status: int, value: object) -> None:
    """They are values and are not retried."""
    assert call.read(status, b"{}") is value


def test_refusals() -> None:
    """409 means an attempt that is over, another 4xx a mistake; 5xx may pass by itself."""
    call = calls.trainer_task(3)
    assert call.target == "/v1/trainer/task?attempt=3"
    with pytest.raises(StaleAttemptError, match="attempt 4 is current"):
        call.read(409, b"attempt 4 is current")
    with pytest.raises(RequestRefusedError, match="400"):
        call.read(400, b"no")
    with pytest.raises(CoordinatorUnreachableError, match="status 503 b'later'"):
        call.read(503, b"later")
    assert not CoordinatorUnreachableError.permanent
    assert StaleAttemptError.permanent
    assert RequestRefusedError.permanent


def test_time_outs_outlast_long_polls() -> None:
    """A long poll never looks like a dead server."""
    assert read_timeout(15.0, 0.0) == 15.0
    assert read_timeout(15.0, calls.BATCH_WAIT_SECONDS) >= calls.BATCH_WAIT_SECONDS + 5
    assert read_timeout(1.0, 10.0) == 15.0
    # A result with the experts to replay of 32,768 tokens, while others are sent too.
    assert read_timeout(15.0, 0.0, 25 * 10**6) > 25.0


def test_a_client_says_what_it_holds() -> None:
    """Unless its caller does; what was finished or given back is no longer held."""
    held = HeldLeases()
    request = LeaseRequest(pod="p", incarnation="i", want=1)
    assert held.declare(request).holding == []
    held.took(Leases(leases=[]))
    held._ids.update({"a", "b"})
    held.gave_up("a")
    held.gave_up("never")
    assert held.declare(request).holding == ["b"]
    own = request.model_copy(update={"holding": ["x"]})
    assert held.declare(own).holding == ["x"]
