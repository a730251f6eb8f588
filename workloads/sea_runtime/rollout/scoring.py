"""Verdicts of finished episodes, by the verifier with the lease's judge and limits."""

import os
from collections.abc import Sequence
from typing import Any

import aiohttp

from sea_api.contract import Env
from sea_api.v1alpha1 import verifier as spec
from sea_env.chat import Address, ChatEndpoint
from sea_env.domains.base import Domain, Environment
from sea_env.tasks.task import Task
from sea_env.tokens.messages import Message
from sea_env.verify.judge import Judge
from sea_env.verify.sandbox.limits import FunctionLimits
from sea_env.verify.sandbox.pool import Sandboxes
from sea_env.verify.verdict import Verdict, Verifier
from sea_runtime.wire.rollouts import Lease


class Scoring:
    """Scores all episodes of a worker."""

    def __init__(self, http: aiohttp.ClientSession, sandboxes: Sandboxes) -> None:
        self._http, self._sandboxes = http, sandboxes

    async def verdict(
        self,
        lease: Lease,
        domain: Domain,
        task: Task,
        environment: Environment,
        transcript: Sequence[Message],
        stop: str,
    ) -> Verdict:
        """The episode's verdict; raises as `Verifier.verify` does."""
        judge = self._judge(lease.judge) if lease.judge else None
        # Per episode: a job's limits may change while episodes run.
        verifier = Verifier(await self._sandboxes.of(limits_of(lease.functions)), judge)
        return await verifier.verify(domain, task, environment, transcript, stop)

    def _judge(self, settings: spec.Judge) -> Judge:
        address = Address(
            url=settings.url,
            model=settings.model,
            api_key=os.environ.get(Env.JUDGE_API_KEY, ""),
            temperature=settings.temperature,
            max_tokens=settings.max_tokens,
            timeout_s=float(settings.timeout_seconds),
        )
        return Judge(ChatEndpoint(self._http, address))


def limits_of(settings: spec.FunctionLimits) -> FunctionLimits:
    """The job's limits in the sandbox's terms."""
    return FunctionLimits(
        cpu_s=settings.cpu_seconds,
        wall_s=float(settings.timeout_seconds),
        memory_bytes=settings.memory_bytes,
    )


def details_of(verdict: Verdict) -> dict[str, Any]:
    """The parts by name and, if a function or a judge gave any, their reasons."""
    reasons = {"reasons": dict(verdict.reasons)} if verdict.reasons else {}
    return {**verdict.parts, **reasons}
