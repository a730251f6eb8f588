"""One finished episode -> reward and its parts; and which tasks can't be scored at all.

Follows tau2-bench: a dialogue that the user didn't end earns 0; otherwise the reward is the product
of the parts that the task's `reward_basis` names (`checks`). `Verifier` also computes the parts
that need a judge model or run code from the row; data generators, which need neither, call
`verify`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sea_env.domains import initial_state, registry
from sea_env.domains.base import Domain, Environment
from sea_env.episodes.limits import ENDED_BY_USER, Stop
from sea_env.errors import EnvError
from sea_env.tasks.task import Task
from sea_env.tokens.messages import Message
from sea_env.verify.checks import CHECKS
from sea_env.verify.function import judged_by_function
from sea_env.verify.judge import Judge
from sea_env.verify.sandbox.pool import FunctionSandbox

FUNCTION = "FUNCTION"
NL_ASSERTION = "NL_ASSERTION"


class UnverifiableTaskError(EnvError, ValueError):
    """The task asks for a check that this job can't make; it must not be scored at all."""


@dataclass(frozen=True)
class Verdict:
    """`reward` is the product of `parts`, 0 to 1; parts that can't change it are left out."""

    reward: float
    parts: dict[str, float]
    """Every checked part by its name in the basis; FUNCTION is the row's own function."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """What a function or a judge gave as the reason for its part."""


def needs_judge(task: Task) -> bool:
    """True if a part of the reward is decided by a judge model."""
    return NL_ASSERTION in task.criteria.reward_basis and bool(task.criteria.nl_assertions)


def without_judge(task: Task) -> Task:
    """The task without what only a judge model could check."""
    criteria = task.criteria
    basis = tuple(part for part in criteria.reward_basis if part != NL_ASSERTION)
    return replace(task, criteria=replace(criteria, reward_basis=basis, nl_assertions=()))


def split_verifiable(
    tasks: Iterable[Task], *, judged: bool
) -> tuple[list[Task], list[UnverifiableTaskError]]:
    """(tasks that `check_verifiable` accepts, why it refuses each of the others)."""
    kept: list[Task] = []
    refused: list[UnverifiableTaskError] = []
    for task in tasks:
        try:
            check_verifiable(task, judged=judged)
            kept.append(task)
        except UnverifiableTaskError as error:
            refused.append(error)
    return kept, refused


def check_verifiable(task: Task, *, judged: bool = False) -> None:
    """Raises UnverifiableTaskError for a task that can't be set up or scored.

    Called when data is loaded, so that no episode is spent on such a task. `judged`: a judge model
    is configured.
    """
    if needs_judge(task) and not judged:
        raise UnverifiableTaskError(
            f"Task {task.key} has {len(task.criteria.nl_assertions)} assertion(s) in natural "
            "language, which take a judge model: name one (spec.verifier.judge of a job, "
            "--judge-endpoint of `sea evaluate`, --judge of `sea data check` and `sea data tau2`), "
            "leave the task out, or take NL_ASSERTION out of its reward_basis "
            "(`sea data tau2 --drop-nl-assertions`)."
        )
    _check_initial_state(task)
    _check_assertions(task)


def _check_initial_state(task: Task) -> None:
    domain = _known(task)
    if domain is None:
        return
    try:
        initial_state.check(domain, task.initial_state)
    except initial_state.InitialStateError as error:
        raise UnverifiableTaskError(
            f"Task {task.key} has an initial_state that can't be set up: {error}"
        ) from error


def _check_assertions(task: Task) -> None:
    domain = _known(task)
    if domain is None or "ENV_ASSERTION" not in task.criteria.reward_basis:
        return
    known = domain.assertions
    for assertion in task.criteria.env_assertions:
        if assertion.func_name not in known:
            raise UnverifiableTaskError(
                f"Task {task.key} asks for the assertion {assertion.func_name!r}, which the domain "
                f"{task.domain} doesn't have (it has {', '.join(sorted(known)) or 'none'})."
            )


def _known(task: Task) -> Domain | None:
    """The task's domain; None if it is unknown, which opening an episode reports."""
    try:
        return registry.get(task.domain)
    except registry.UnknownDomainError:
        return None


def verify(
    domain: Domain,
    task: Task,
    environment: Environment,
    transcript: Sequence[Message],
    stop: str = Stop.USER_STOP,
) -> Verdict:
    """The reward of an episode that needs neither judge nor function.

    Raises UnverifiableTaskError.
    """
    check_verifiable(task)
    if task.verification_function:
        raise UnverifiableTaskError(
            f"Task {task.key} has a verification function, which runs in a sandbox only: "
            "score it with `Verifier`."
        )
    parts = local_parts(domain, task, environment, transcript)
    return Verdict(math.prod(parts.values()) if stop in ENDED_BY_USER else 0.0, parts)


def local_parts(
    domain: Domain, task: Task, environment: Environment, transcript: Sequence[Message]
) -> dict[str, float]:
    """The parts of the basis in `checks`, 0 or 1 each. Raises UnverifiableTaskError."""
    if environment.database.initial != initial_state.identity(task.initial_state):
        raise UnverifiableTaskError(
            f"The episode of task {task.key} didn't begin with the task's initial_state: open the "
            "environment on what `initial_state.begin` returns."
        )
    return {
        name: float(CHECKS[name](domain, task, environment, transcript))
        for name in task.criteria.reward_basis
        # NL_ASSERTION with assertions is left to the judge; counting it here would make it 1.
        if name in CHECKS and not (name == NL_ASSERTION and needs_judge(task))
    }


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
