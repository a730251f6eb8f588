"""FUNCTION part: the row's own verification function, run in the sandbox.

What the function sees is docs/writing-verifiers.md; `sandbox.inside.case` makes it.
"""

from collections.abc import Sequence
from typing import Any

from sea_workloads.data.task import Task
from sea_workloads.domains.base import Domain, Environment
from sea_workloads.tokens.messages import Message
from sea_workloads.verify.expected import end_state, expected
from sea_workloads.verify.sandbox.pool import FunctionSandbox, Judged

FIELD = "verification_function"


async def judged_by_function(
    sandbox: FunctionSandbox,
    domain: Domain,
    task: Task,
    environment: Environment,
    transcript: Sequence[Message],
    stop: str,
) -> Judged:
    """The function's reward. Raises SandboxError where it could not be run."""
    case = case_of(domain, task, environment, transcript, stop)
    return await sandbox.run(task.criteria.verification_function, case, environment.database)


def case_of(
    domain: Domain,
    task: Task,
    environment: Environment,
    transcript: Sequence[Message],
    stop: str,
) -> dict[str, Any]:
    """The episode as JSON, without the base tables that the sandbox keeps."""
    agent, user = end_state(environment)
    wanted_agent, wanted_user = expected(domain, task, environment.database)
    row = dict(task.row)
    criteria = row.get("evaluation_criteria")
    if isinstance(criteria, dict):
        row["evaluation_criteria"] = {k: v for k, v in criteria.items() if k != FIELD}
    return {
        "dialogue": [dict(message) for message in transcript],
        "changes": agent,
        "user_changes": user,
        "expected_changes": wanted_agent,
        "expected_user_changes": wanted_user,
        "task": row,
        "stop": str(stop),
    }
