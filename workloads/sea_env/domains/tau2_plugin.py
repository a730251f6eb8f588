"""tau2-bench itself as a `Domain`, where the user installed it: `registry.get("tau2:retail")`.

    tau2.registry.registry.get_env_constructor(name) -> environment of tau2
    its get_tools, get_user_tools, get_policy, get_response, run_env_function_call, set_state

tau2 is imported only when such a name is requested. The package called tau2 on PyPI is a different
one: what counts is a module `tau2.registry`. Unlike the built-in domains, an episode holds a whole
copy of its database, and each `changes` dumps it: use this to compare, not to train.

Written against commit a2c0247 of 2026-08-18. Its real environments of telecom and mock were run
through this file once and gave all published results; a complete installation (Python 3.12, a
dozen packages) was not tried. The test has a small package with the same interface.
"""

import copy
import importlib
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NoReturn

from pydantic import BaseModel

from sea_env.domains.base import Kind, Tool, ToolError, ToolResult, UnknownAssertionError
from sea_env.domains.database import Database, parse_tables, parse_user_tables
from sea_env.domains.entry_points import UnknownDomainError
from sea_env.domains.overlay import Change, differences
from sea_env.domains.tool_domain import customer_service_prompt
from sea_env.domains.validation import validated

PREFIX = "tau2:"
_SIDES = ("assistant", "user")


class Tau2UnavailableError(UnknownDomainError):
    """tau2-bench isn't installed, is broken, or doesn't have the domain."""


def domain(name: str) -> "Tau2Domain":
    """The domain `tau2:NAME`; raises Tau2UnavailableError."""
    try:
        known = importlib.import_module("tau2.registry").registry
        constructor = known.get_env_constructor(name.removeprefix(PREFIX))
    except ImportError as error:
        raise Tau2UnavailableError(
            f"The domain {name} needs tau2-bench (Sierra Research), and its module tau2.registry "
            f"can't be imported: {error}. The package called tau2 on PyPI is a different one."
        ) from error
    except (KeyError, AttributeError) as error:
        raise Tau2UnavailableError(f"tau2-bench has no domain for {name}: {error}.") from error
    try:
        return Tau2Domain(name, constructor)
    except ImportError as error:
        missing = f"the package {error.name}" if error.name else "a package"
        raise Tau2UnavailableError(
            f"tau2-bench can't open its domain for {name}: {missing} is missing in this Python "
            f"environment ({error}). Install it there."
        ) from error
    except Exception as error:
        raise Tau2UnavailableError(
            f"tau2-bench can't open its domain for {name}: {error}. It reads its own data folder "
            "(TAU2_DATA_DIR); put the data there."
        ) from error


class Tau2Domain:
    """One domain of tau2-bench as a `Domain`; `registry` keeps one instance."""

    max_bad_turns = 3
    policy_file: str | None = None
    """tau2-bench has its policies built in."""

    def __init__(self, name: str, constructor: Callable[..., Any]) -> None:
        self.name = name
        self._constructor = constructor
        # An environment on tau2's own database, from which the domain's constants are read.
        self._sample = sample = constructor()
        self.tools: Sequence[Tool] = _tools(sample.tools, sample.get_tools())
        self.user_tools: Sequence[Tool] = ()
        if sample.user_tools is not None:
            self.user_tools = _tools(sample.user_tools, sample.get_user_tools())
        self.functions = _functions(sample.tools) | _functions(sample.user_tools)
        self.assertions: Collection[str] = frozenset(
            name for name in self.functions if name.startswith("assert_")
        )
        self._defaults = {
            type(kit): copy.deepcopy(_class_records(kit))
            for kit in (sample.tools, sample.user_tools)
            if kit is not None
        }
        """Records that tau2's tool kits keep on their class, as they are before any episode."""

    def system_prompt(self, policy: str | None = None) -> str:
        """The given policy, or tau2-bench's own, and the tools."""
        return customer_service_prompt(policy or self._sample.get_policy(), self.tools)

    def parse(self, data: bytes, name: str, user_data: bytes | None = None) -> Database:
        """Reads the files through tau2's own models; raises DatabaseError."""
        agent = validated(type(self._sample.tools.db), parse_tables(data, name), name)
        kit = self._sample.user_tools
        if kit is None or kit.db is None:
            return Database(agent)
        user = parse_user_tables(user_data) or _dump(kit)
        return Database(agent, validated(type(kit.db), user, "of the user"))

    def open(self, database: Database) -> "Tau2Environment":
        """A new episode, on a copy of the database."""
        return Tau2Environment(database, self._environment(database))

    def _environment(self, database: Database) -> Any:
        found = self._constructed(database)
        for kit in (found.tools, found.user_tools):
            # telecom's `break_vpn` writes into the class: every later episode of the process would
            # begin with a slow VPN.
            for name, record in self._defaults.get(type(kit), {}).items():
                setattr(kit, name, copy.deepcopy(record))
        return found

    def _constructed(self, database: Database) -> Any:
        bases = {"db": type(self._sample.tools.db).model_validate(database.agent)}
        kit = self._sample.user_tools
        if kit is not None and database.user is database.agent:
            # One database for both sides: tau2's constructor would copy it for each.
            found = self._constructor(**bases)
            found.user_tools.db = found.tools.db
            return found
        if kit is not None and kit.db is not None:
            bases["user_db"] = type(kit.db).model_validate(database.user)
        return self._constructor(**bases)


class Tau2Environment:
    """One episode in an environment of tau2-bench; the methods are those of `Environment`."""

    def __init__(self, database: Database, environment: Any) -> None:
        self.database = database
        self._environment = environment

    def call(
        self, name: str, arguments: Mapping[str, Any], requestor: str = "assistant"
    ) -> ToolResult:
        message = _model("message", "ToolCall")(
            id="call", name=name, arguments=dict(arguments), requestor=requestor
        )
        answer = self._environment.get_response(message)
        return ToolResult(str(answer.content), bool(answer.error))

    def changes(self, requestor: str = "assistant") -> list[Change]:
        kit = self._kit(requestor)
        if kit is None or kit.db is None:
            return []
        base = self.database.user if requestor == "user" else self.database.agent
        return sorted(differences("", base, _dump(kit)), key=lambda change: str(change["path"]))

    def base(self, requestor: str = "assistant") -> Mapping[str, Any]:
        return self.database.user if requestor == "user" else self.database.agent

    def check(self, function: str, arguments: Mapping[str, Any]) -> bool:
        side = next((s for s in _SIDES if function in _functions(self._kit(s))), None)
        if side is None:
            raise UnknownAssertionError(f"tau2-bench's domain has no assertion {function!r}.")
        return bool(self._run(function, arguments, side))

    def setup(
        self, function: str, arguments: Mapping[str, Any], requestor: str = "assistant"
    ) -> None:
        self._run(function, arguments, requestor)

    def merge(self, data: Mapping[str, Any], requestor: str = "assistant") -> None:
        side = "user_data" if requestor == "user" else "agent_data"
        given = _model("tasks", "InitializationData")(**{side: dict(data)})
        try:
            self._environment.set_state(given, None, [])
        except Exception as error:
            raise ToolError(str(error)) from error

    def freeze(self, initial: str) -> Database:
        agent = _dump(self._environment.tools)
        kit = self._environment.user_tools
        if kit is None or kit.db is None:
            return Database(agent, initial=initial)
        one = kit.db is self._environment.tools.db
        return Database(agent, agent if one else _dump(kit), initial=initial)

    def _kit(self, requestor: str) -> Any:
        found = self._environment
        return found.user_tools if requestor == "user" else found.tools

    def _run(self, function: str, arguments: Mapping[str, Any], side: str) -> Any:
        call = _model("tasks", "EnvFunctionCall")(
            env_type=side, func_name=function, arguments=dict(arguments)
        )
        try:
            return self._environment.run_env_function_call(call)
        except Exception as error:
            raise ToolError(str(error)) from error


def _tools(kit: Any, found: Sequence[Any]) -> tuple[Tool, ...]:
    return tuple(_tool(kit, one.openai_schema["function"]) for one in found)


def _tool(kit: Any, schema: Mapping[str, Any]) -> Tool:
    name = str(schema["name"])
    kind = Kind(kit.tool_type(name).value)
    return Tool(name, kind, schema.get("description", ""), schema["parameters"], _only_tau2_runs_it)


def _only_tau2_runs_it(*_: Any, **__: Any) -> NoReturn:
    raise TypeError("Tools of tau2-bench run through Tau2Environment.call only.")


def _functions(kit: Any) -> frozenset[str]:
    """The public methods of a tool kit that initial states and assertions may name."""
    if kit is None:
        return frozenset()
    found = {name for name, _ in inspect.getmembers(type(kit), inspect.isfunction)}
    machinery = vars(type(kit).__mro__[-2])
    return frozenset(name for name in found.difference(machinery) if not name.startswith("_"))


def _class_records(kit: Any) -> dict[str, Any]:
    return {
        name: value
        for one in reversed(type(kit).__mro__)
        for name, value in vars(one).items()
        if isinstance(value, BaseModel)
    }


def _dump(kit: Any) -> dict[str, Any]:
    dumped: dict[str, Any] = kit.db.model_dump(mode="json")
    return dumped


def _model(module: str, name: str) -> Any:
    return getattr(importlib.import_module(f"tau2.data_model.{module}"), name)
