"""`verify`: one finished episode -> reward and its parts.

Follows tau2-bench: a dialogue that didn't end by the user's word earns 0; otherwise the reward is
the product of the parts that the task's `reward_basis` names. Parts that take a judge model or run
code of the row are `verifier.Verifier`'s.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sea_env.domains import initial_state, registry
from sea_env.domains.base import Domain, Environment
from sea_env.episodes.limits import ENDED_BY_USER, Stop
from sea_env.tasks.task import Task
from sea_env.tokens.messages import Message
from sea_env.verify.actions import made_all
from sea_env.verify.assertions import holds
from sea_env.verify.expected import matches
from sea_env.verify.said import communicated


class UnverifiableTaskError(ValueError):
    """The task asks for a check that this job can't make; it must not be scored at all."""


@dataclass(frozen=True)
class Verdict:
    """`reward` is the product of `parts`, 0 to 1; a part that couldn't matter is left out."""

    reward: float
    parts: dict[str, float]
    """Every checked part by its name in the basis; FUNCTION is the row's own function."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """What a function or a judge said about its part."""


def needs_judge(task: Task) -> bool:
    """Whether a part of the reward is a judge model's."""
    return "NL_ASSERTION" in task.criteria.reward_basis and bool(task.criteria.nl_assertions)


def check_verifiable(task: Task, *, judged: bool = False) -> None:
    """Raises UnverifiableTaskError for a task that can't be set up or scored.

    Called when data are loaded, so that no episode is spent on such a task. `judged`: there is a
    judge model.
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
    """The task's domain; whoever opens an episode says what is wrong where there is none."""
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
    """The reward of an episode that takes neither judge nor function.

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
    """The parts of the basis that replay and text decide. Raises UnverifiableTaskError."""
    if environment.database.initial != initial_state.identity(task.initial_state):
        raise UnverifiableTaskError(
            f"The episode of task {task.key} didn't begin with the task's initial_state: open the "
            "environment on what `initial_state.begin` returns."
        )
    return {
        name: float(_CHECKS[name](domain, task, environment, transcript))
        for name in task.criteria.reward_basis
        if name in _CHECKS and not (name == "NL_ASSERTION" and needs_judge(task))
    }


def _database(domain: Domain, task: Task, environment: Environment, _: Sequence[Message]) -> bool:
    return matches(domain, task, environment)


def _assertions(_: Domain, task: Task, environment: Environment, __: Sequence[Message]) -> bool:
    return all(holds(environment, assertion) for assertion in task.criteria.env_assertions)


def _actions(_: Domain, task: Task, __: Environment, transcript: Sequence[Message]) -> bool:
    return made_all(task.criteria.actions, transcript)


def _said(_: Domain, task: Task, __: Environment, transcript: Sequence[Message]) -> bool:
    return communicated(task.criteria.communicate_info, transcript)


def _vacuous(_: Domain, __: Task, ___: Environment, ____: Sequence[Message]) -> bool:
    return True


_CHECKS: dict[str, Callable[[Domain, Task, Environment, Sequence[Message]], bool]] = {
    "DB": _database,
    "ENV_ASSERTION": _assertions,
    "ACTION": _actions,
    "COMMUNICATE": _said,
    "NL_ASSERTION": _vacuous,
}
