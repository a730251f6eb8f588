"""ENV_ASSERTION part: one named check on the end state."""

from sea_env.domains.base import Environment, ToolError
from sea_env.tasks.task import Assertion


def holds(environment: Environment, assertion: Assertion) -> bool:
    """Whether the check answers as the task wants it to.

    One that can't be answered, because what it asks about isn't there (the agent never made it),
    has failed, whatever answer is wanted. Raises UnknownAssertionError.
    """
    try:
        found = environment.check(assertion.func_name, assertion.arguments)
    except ToolError:
        return False
    return found == assertion.assert_value
