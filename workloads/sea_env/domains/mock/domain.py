"""Mock as a `Domain`: tools, prompt with schemas, readers of its two databases."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sea_env.domains import desk, fields
from sea_env.domains.base import Tool
from sea_env.domains.database import Database, parse_tables, parse_user_tables
from sea_env.domains.environment import Toolbox, ToolEnvironment
from sea_env.domains.mock import tools
from sea_env.domains.mock.layout import InboxTables, MockTables
from sea_env.domains.prompt import customer_service_prompt
from sea_env.domains.reading import validated
from sea_env.domains.toolkit import asserting

TOOLS = (
    tools.create_task,
    tools.get_users,
    tools.update_task_status,
    desk.transfer_to_human_agents,
)
USER_TOOLS = (tools.check_notifications, tools.dismiss_notification)
_ASSERTIONS = (
    tools.assert_number_of_tasks,
    tools.assert_task_status,
    tools.assert_notification_status,
)
_SETUP = {"user": {"add_notification": tools.add_notification}}


def _agent_tables(raw: Mapping[str, Any]) -> dict[str, Any]:
    name = "of mock's agent"
    read = validated(MockTables, raw, name)
    fields.tell_left_out(Mock.name, raw, read, name)
    return read


def _user_tables(raw: Mapping[str, Any]) -> dict[str, Any]:
    return validated(InboxTables, raw, "of mock's user")


_BOX = Toolbox(
    agent={tool.name: tool for tool in TOOLS},
    user={tool.name: tool for tool in USER_TOOLS},
    assertions={tool.name: asserting(tool) for tool in _ASSERTIONS},
    setup=_SETUP,
    layouts={"assistant": _agent_tables, "user": _user_tables},
    one_database=True,
)


class Mock:
    """Stateless; one serves all episodes."""

    name = "mock"
    tools: Sequence[Tool] = TOOLS
    user_tools: Sequence[Tool] = USER_TOOLS
    assertions: Collection[str] = tuple(_BOX.assertions)
    functions: Collection[str] = tuple(_SETUP["user"])
    max_bad_turns = 3
    policy_file: str | None = "mock_policy.md"

    def system_prompt(self, policy: str | None = None) -> str:
        return customer_service_prompt(policy or "", self.tools)

    def parse(self, data: bytes, name: str, user_data: bytes | None = None) -> Database:
        tables = parse_tables(data, name)
        agent = validated(MockTables, tables, name)
        fields.tell_left_out(self.name, tables, agent, name)
        return Database(agent, _user_tables(parse_user_tables(user_data)))

    def open(self, database: Database) -> ToolEnvironment:
        return ToolEnvironment(database, _BOX)
