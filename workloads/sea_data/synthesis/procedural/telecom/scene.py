"""A telecom call: whose line and phone it is, and where; the agent's words that make a user act."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sea_data.synthesis.desk import Desk
from sea_data.synthesis.plan import ToolMode
from sea_data.synthesis.procedural.voice import Voice
from sea_env.domains.telecom.clock import TODAY

Record = Mapping[str, Any]

_LEADS = (
    "Please do this on your phone: `{tool}`{arguments}. What does it say?",
    "Could you use `{tool}`{arguments} on your phone, and tell me what it says?",
    "Next, please use `{tool}`{arguments}. What do you see?",
)
_TOLD = ("I did that. It says: {result}", "Done. I see this: {result}")


@dataclass
class Call:
    """One call about one line."""

    customer: Record
    line: Record
    plan: Record
    bills: list[Record]
    mode: ToolMode
    voice: Voice
    abroad: bool = False
    faults: list[dict[str, Any]] = field(default_factory=list)
    """`initialization_actions` of the task."""

    @property
    def rng(self) -> random.Random:
        return self.voice.rng

    @property
    def of_line(self) -> dict[str, str]:
        """The arguments that name the line."""
        return {"customer_id": self.customer["customer_id"], "line_id": self.line["line_id"]}

    @property
    def has_ended(self) -> bool:
        """Whether the line's contract is over."""
        return str(self.line["contract_end_date"]) < TODAY.isoformat()

    def breaks(self, function: str, side: str = "user", **arguments: Any) -> None:
        """Adds a fault to the initial state."""
        self.faults.append({"env_type": side, "func_name": function, "arguments": arguments})

    def have_used(self, desk: Desk, tool: str, **arguments: Any) -> str:
        """The agent asks for it by the tool's name, the user does it and says what it saw."""
        given = f" {json.dumps(arguments)}" if arguments else ""
        desk.agent(self.rng.choice(_LEADS).format(tool=tool, arguments=given))
        result = str(desk.user_call(tool, **arguments))
        desk.user(self.rng.choice(_TOLD).format(result=result))
        return result
