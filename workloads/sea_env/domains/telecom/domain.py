"""Telecom as a `Domain`: tools of both sides, prompt with schemas, readers of its databases."""

from collections.abc import Collection, Sequence

from sea_env.domains import desk
from sea_env.domains.base import Tool, ToolError
from sea_env.domains.database import Database, DatabaseError, parse_tables, parse_user_tables
from sea_env.domains.environment import State, Toolbox, ToolEnvironment
from sea_env.domains.overlay import Tables
from sea_env.domains.prompt import customer_service_prompt
from sea_env.domains.telecom import (
    apps,
    billing,
    customers,
    faults,
    layout,
    lines,
    looking,
    switches,
    tunnel,
)
from sea_env.domains.telecom.assertions import ASSERTIONS
from sea_env.domains.telecom.sync import sync
from sea_env.domains.toolkit import asserting

TOOLS = (
    customers.get_customer_by_phone,
    customers.get_customer_by_id,
    customers.get_customer_by_name,
    customers.get_details_by_id,
    lines.suspend_line,
    lines.resume_line,
    customers.get_bills_for_customer,
    billing.send_payment_request,
    customers.get_data_usage,
    lines.enable_roaming,
    lines.disable_roaming,
    desk.transfer_to_human_agents,
    lines.refuel_data,
)
USER_TOOLS = (
    looking.check_status_bar,
    looking.check_network_status,
    looking.check_network_mode_preference,
    switches.set_network_mode_preference,
    looking.run_speed_test,
    switches.toggle_airplane_mode,
    looking.check_sim_status,
    switches.reseat_sim_card,
    switches.toggle_data,
    switches.toggle_roaming,
    looking.check_data_restriction_status,
    switches.toggle_data_saver_mode,
    looking.check_apn_settings,
    switches.set_apn_settings,
    switches.reset_apn_settings,
    looking.check_wifi_status,
    switches.toggle_wifi,
    looking.check_wifi_calling_status,
    switches.toggle_wifi_calling,
    looking.check_vpn_status,
    tunnel.connect_vpn,
    tunnel.disconnect_vpn,
    apps.check_installed_apps,
    apps.check_app_status,
    apps.check_app_permissions,
    apps.grant_app_permission,
    looking.can_send_mms,
    switches.reboot_device,
    looking.check_payment_request,
    apps.make_payment,
)

_BOX = Toolbox(
    agent={tool.name: tool for tool in TOOLS},
    user={tool.name: tool for tool in USER_TOOLS},
    assertions={tool.name: asserting(tool) for tool in ASSERTIONS},
    setup={
        "assistant": {tool.name: tool for tool in faults.OF_THE_AGENT},
        "user": {tool.name: tool for tool in faults.OF_THE_USER},
    },
    sync=sync,
    listed=frozenset(layout.IDS),
    layouts={"assistant": layout.agent_tables, "user": layout.user_tables},
)


class Telecom:
    """Stateless; one serves all episodes."""

    name = "telecom"
    tools: Sequence[Tool] = TOOLS
    user_tools: Sequence[Tool] = USER_TOOLS
    assertions: Collection[str] = tuple(_BOX.assertions)
    functions: Collection[str] = tuple(
        tool.name for tool in (*faults.OF_THE_AGENT, *faults.OF_THE_USER)
    )
    max_bad_turns = 3
    policy_file: str | None = "telecom_policy.md"

    def system_prompt(self, policy: str | None = None) -> str:
        return customer_service_prompt(policy or "", self.tools)

    def parse(self, data: bytes, name: str, user_data: bytes | None = None) -> Database:
        """Without `user_data` the user has a phone that works, and no name or number yet."""
        agent = layout.agent_tables(parse_tables(data, name), name)
        return _in_step(agent, layout.user_tables(parse_user_tables(user_data)))

    def open(self, database: Database) -> ToolEnvironment:
        return ToolEnvironment(database, _BOX)


def _in_step(agent: Tables, user: Tables) -> Database:
    """The surroundings of a user whose number is known begin as the line has them."""
    state = State(Database(agent, user))
    try:
        sync(state)
    except ToolError as error:
        raise DatabaseError(f"The user's database doesn't fit the agent's: {error}.") from error
    return Database(state.agent.folded(), state.user.folded())
