"""`Verifier`: one finished episode -> reward, with a judge and the rows' own functions.

Data generators, which need neither, call `verdict.verify` directly. The slow parts run only if they
can still change the reward: a product with a zero is zero.
"""

import math
from collections.abc import Sequence

from sea_env.domains.base import Domain, Environment
from sea_env.episodes.limits import ENDED_BY_USER, Stop
from sea_env.tasks.task import Task
from sea_env.tokens.messages import Message
from sea_env.verify.function import judged_by_function
from sea_env.verify.judge import Judge
from sea_env.verify.sandbox.pool import FunctionSandbox
from sea_env.verify.verdict import Verdict, check_verifiable, local_parts, needs_judge

FUNCTION = "FUNCTION"
NL_ASSERTION = "NL_ASSERTION"


class Verifier:
    """Scores episodes; safe for many at a time on one event loop."""

    def __init__(self, sandbox: FunctionSandbox, judge: Judge | None = None) -> None:
        self._sandbox, self._judge = sandbox, judge

    async def verify(
        self,
        domain: Domain,
        task: Task,
        environment: Environment,
        transcript: Sequence[Message],
        stop: str = Stop.USER_STOP,
    ) -> Verdict:
        """The episode's reward, from 0 to 1.

        Raises UnverifiableTaskError for a task that can't be scored, SandboxError and
        JudgeUnavailableError if this episode could not be.
        """
        judge = self._judge
        # First: a task that can't be scored must raise, whatever the dialogue did.
        check_verifiable(task, judged=judge is not None)
        parts = local_parts(domain, task, environment, transcript)
        reasons: dict[str, str] = {}
        # The function before the judge: it costs milliseconds, the judge a request.
        if stop in ENDED_BY_USER and all(parts.values()) and task.verification_function:
            found = await judged_by_function(
                self._sandbox, domain, task, environment, transcript, stop
            )
            parts[FUNCTION], reasons[FUNCTION] = found.reward, found.reason
        if stop in ENDED_BY_USER and all(parts.values()) and needs_judge(task):
            assert judge is not None
            opinion = await judge.opinion(task.criteria.nl_assertions, transcript)
            parts[NL_ASSERTION] = float(all(opinion.met))
            reasons[NL_ASSERTION] = "\n".join(opinion.reasons)
        reward = math.prod(parts.values()) if stop in ENDED_BY_USER else 0.0
        return Verdict(reward, parts, {name: text for name, text in reasons.items() if text})
