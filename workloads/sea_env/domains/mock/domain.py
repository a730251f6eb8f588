"""Mock as a `Domain`: the smallest one with two sides."""

from dataclasses import replace

from sea_env.domains import common_tools
from sea_env.domains.environment import Toolbox
from sea_env.domains.mock import tools as mock_tools
from sea_env.domains.mock.records import InboxTables, MockTables
from sea_env.domains.tool_domain import ToolDomain


class Mock(ToolDomain):
    """Four tools of the agent, two of the user."""

    name = "mock"
    policy_file = "mock_policy.md"
    agent_model = MockTables
    user_model = InboxTables
    tools = (
        mock_tools.create_task,
        mock_tools.get_users,
        mock_tools.update_task_status,
        common_tools.transfer_to_human_agents,
    )
    user_tools = (mock_tools.check_notifications, mock_tools.dismiss_notification)
    assertion_tools = (
        mock_tools.assert_number_of_tasks,
        mock_tools.assert_task_status,
        mock_tools.assert_notification_status,
    )
    initialization_tools = {"user": (mock_tools.add_notification,)}

    def _make_toolbox(self) -> Toolbox:
        return replace(super()._make_toolbox(), one_database=True)
