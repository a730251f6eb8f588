"""A function sees the end state of both databases, laid out as in their files."""

from typing import Any

import pytest

from sea_data.formats import rl
from sea_env.domains import initial_state, registry
from sea_env.domains.database_generator import Size, generate_database
from sea_env.verify import function
from sea_env.verify.sandbox.inside.episode import patched
from sea_env.verify.sandbox.pool import FunctionSandbox
from sea_env.verify.verdict import Verifier

TELECOM = registry.get("telecom")
SOURCE = """
def verify(episode):
    lines = [line for line in episode["agent_database"]["lines"] if line["line_id"] == LINE]
    wanted = lines[0]["status"] == "Suspended"
    phone = episode["user_database"]["device"]["airplane_mode"]
    return wanted and phone is True, lines[0]["status"] + str(phone)
"""


@pytest.fixture(scope="module")
def state() -> Any:
    world = generate_database(registry.get("telecom"), Size.SMALL, 5)
    agent: Any = world.agent
    customer = next(c for c in agent["customers"].values() if c["line_ids"])
    line = agent["lines"][customer["line_ids"][0]]
    line["status"] = "Active"
    who = {"name": customer["full_name"], "phone_number": line["phone_number"]}
    given = {
        "initialization_actions": [
            {"env_type": "user", "func_name": "set_user_info", "arguments": who},
        ]
    }
    return world.load(registry.get("telecom")), given, customer["customer_id"], line["line_id"]


@pytest.mark.component
async def test_both_ends_of_a_two_sided_episode(state: Any) -> None:
    database, given, customer, line = state
    row = {
        "id": "telecom_1",
        "initial_state": given,
        "evaluation_criteria": {"reward_basis": ["FUNCTION"]},
        "verification_function": SOURCE.replace("LINE", repr(line)),
    }
    task = rl.task(row)
    episode = TELECOM.open(initial_state.begin(TELECOM, database, task.initial_state))
    suspend = {"customer_id": customer, "line_id": line, "reason": "lost"}
    assert not episode.call("suspend_line", suspend).error
    assert not episode.call("toggle_airplane_mode", {}, "user").error
    for side in ("assistant", "user"):
        found = patched(dict(episode.base(side)), episode.changes(side))
        assert found == _layout(episode, side)
    box = FunctionSandbox(processes=1)
    verdict = await Verifier(box).verify(TELECOM, task, episode, [])
    await box.close()
    assert (verdict.reward, verdict.reasons["FUNCTION"]) == (1.0, "SuspendedTrue")
    assert function._base(episode) is function._base(episode), "sent to the sandbox once"


def _layout(episode: Any, side: str) -> Any:
    """The end state as a new base, read the way a fresh episode on it would be."""
    agent_again = TELECOM.open(episode.freeze(episode.database.initial))
    return agent_again.base(side)
