"""Where functions that a model wrote are run: the verifier's own sandbox, never this process."""

from typing import Any

from sea_data.synthesis.crew import CrewUnavailableError
from sea_env.domains.base import Environment
from sea_env.verify.function import judged_episode
from sea_env.verify.sandbox.pool import FunctionSandbox, Judged
from sea_env.verify.sandbox.process import SandboxError

_TRIES = 3


class Bench:
    """Runs functions for all items of a run."""

    def __init__(self, sandbox: FunctionSandbox) -> None:
        self._sandbox = sandbox

    async def run(self, source: str, episode: dict[str, Any], environment: Environment) -> Judged:
        """What the function says about a finished episode of the environment.

        Raises CrewUnavailableError where the sandbox, not the function, is at fault.
        """
        for tries_left in reversed(range(_TRIES)):
            try:
                return await judged_episode(self._sandbox, source, episode, environment)
            except SandboxError as error:
                if not tries_left:
                    raise CrewUnavailableError(
                        f"Verification functions can't be tried: {error}"
                    ) from error
        raise AssertionError("the last try returns or raises")
