"""Verdicts of finished episodes: the verifier with the judge that the lease names."""

import os
from collections.abc import Sequence
from typing import Any

import aiohttp

from sea_workloads.chat.endpoint import Address, ChatEndpoint
from sea_workloads.data.task import Task
from sea_workloads.domains.base import Domain, Environment
from sea_workloads.tokens.messages import Message
from sea_workloads.verify.judge import Judge
from sea_workloads.verify.sandbox.pool import FunctionSandbox
from sea_workloads.verify.verdict import Verdict
from sea_workloads.verify.verifier import Verifier
from sea_workloads.wire.rollouts import JudgeSettings, Lease

API_KEY_VARIABLE = "SEA_JUDGE_API_KEY"


class Scoring:
    """Scores all episodes of a worker."""

    def __init__(self, http: aiohttp.ClientSession, sandbox: FunctionSandbox) -> None:
        self._http, self._verifier = http, Verifier(sandbox)

    async def verdict(
        self,
        lease: Lease,
        domain: Domain,
        task: Task,
        environment: Environment,
        transcript: Sequence[Message],
        stop: str,
    ) -> Verdict:
        """Raises what `Verifier.verify` raises."""
        judge = self._judge(lease.judge) if lease.judge else None
        return await self._verifier.verify(domain, task, environment, transcript, stop, judge)

    def _judge(self, settings: JudgeSettings) -> Judge:
        address = Address(
            url=settings.url,
            model=settings.model,
            api_key=os.environ.get(API_KEY_VARIABLE, ""),
            temperature=settings.temperature,
            max_tokens=settings.max_tokens,
            timeout_s=float(settings.timeout_seconds),
        )
        return Judge(ChatEndpoint(self._http, address))


def details_of(verdict: Verdict) -> dict[str, Any]:
    """The parts by name and, where a function or a judge gave any, their reasons."""
    reasons = {"reasons": dict(verdict.reasons)} if verdict.reasons else {}
    return {**verdict.parts, **reasons}
