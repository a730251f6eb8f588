"""A verifiable task: one row of the published `rl` files, or a task of tau2-bench, as values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DEFAULT_BASIS = ("DB", "COMMUNICATE")


@dataclass(frozen=True)
class Action:
    """One expected call. `compare_args` None compares all arguments, an empty list none."""

    name: str
    arguments: Mapping[str, Any]
    requestor: str = "assistant"
    compare_args: Sequence[str] | None = None


@dataclass(frozen=True)
class Assertion:
    """A named check on the end state."""

    func_name: str
    arguments: Mapping[str, Any]
    env_type: str = "assistant"
    assert_value: bool = True
    message: str = ""


@dataclass(frozen=True)
class Criteria:
    """What a reward of 1 requires; the reward is the product over `reward_basis`."""

    actions: Sequence[Action] = ()
    env_assertions: Sequence[Assertion] = ()
    communicate_info: Sequence[str] = ()
    nl_assertions: Sequence[str] = ()
    reward_basis: Sequence[str] = DEFAULT_BASIS
    judges_state: bool = True
    """False if the row has neither actions nor assertions, not even empty lists of them."""


@dataclass(frozen=True, eq=False)
class Task:
    """One task. `row` is the row it was read from; `key` identifies it uniquely.

    Ids may repeat in published files, so `key` holds file and line if they are known.
    """

    id: str
    key: str
    domain: str
    scenario: Mapping[str, Any]
    criteria: Criteria
    db_path: str | None
    initial_state: Mapping[str, Any] | None
    row: Mapping[str, Any]
    verification_function: str = ""
    """Python source that defines `verify(episode)`; where there is one it is a factor of the
    reward, whether or not the basis names FUNCTION (docs/writing-verifiers.md)."""

    @property
    def instructions(self) -> Mapping[str, Any]:
        """The scenario's instructions; plain text becomes `task_instructions`."""
        given = self.scenario.get("instructions")
        if isinstance(given, str):
            return {"task_instructions": given}
        return given or {}
