"""The script behind a shop task (what the customer wants and says), and its published form."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Intent(StrEnum):
    CANCEL = "cancel"
    REFUND = "refund"
    ADDRESS = "address"
    TOTAL = "total"


class Opening(StrEnum):
    """What the customer reveals in the first sentence."""

    NOTHING = "nothing"
    ORDER = "order"
    BOTH = "order and email"


_REASONS = {
    Intent.CANCEL: "Cancel order {order}.",
    Intent.REFUND: "Refund order {order}.",
    Intent.ADDRESS: "Send order {order} to {address}.",
    Intent.TOTAL: "Ask the total of order {order}.",
}


@dataclass(frozen=True)
class Script:
    """One customer's role. `address` is empty unless the intent is to change it."""

    intent: Intent
    order: str
    email: str
    address: str
    opening: Opening

    @staticmethod
    def from_dict(value: Mapping[str, Any]) -> "Script":
        """The script of a task row; raises KeyError or ValueError if it isn't one."""
        return Script(
            Intent(value["intent"]),
            value["order"],
            value["email"],
            value.get("address", ""),
            Opening(value["opening"]),
        )

    @property
    def reason(self) -> str:
        """The request as a sentence, for `reason_for_call`."""
        return _REASONS[self.intent].format(order=self.order, address=self.address)

    def scenario(self) -> dict[str, Any]:
        """`user_scenario` of a task row; the scripted user plays from its `script`."""
        instructions = {
            "domain": "shop",
            "reason_for_call": self.reason,
            "known_info": f"Email {self.email}.",
            "unknown_info": None,
            "task_instructions": f"First give {self.opening}.",
        }
        return {"persona": None, "instructions": instructions, "script": asdict(self)}
