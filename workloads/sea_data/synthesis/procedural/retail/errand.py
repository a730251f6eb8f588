"""A retail call: who calls, which orders it is about, and what the agent has looked up so far."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from sea_data.synthesis.desk import Desk
from sea_data.synthesis.plan import ToolMode
from sea_data.synthesis.procedural.errand import Errand
from sea_data.synthesis.procedural.retail.index import Record, RetailIndex
from sea_data.synthesis.procedural.voice import Voice
from sea_data.synthesis.proposal import NothingFitsError


@dataclass
class Call:
    """Who calls, and what the agent has found out so far."""

    index: RetailIndex
    user: Record
    mode: ToolMode
    voice: Voice
    taken: set[str] = field(default_factory=set)
    """Orders that an errand of this call is about; each is the matter of one errand only."""
    profile_read: bool = False
    orders_read: set[str] = field(default_factory=set)

    @property
    def rng(self) -> random.Random:
        return self.voice.rng

    def take(self, *statuses: str) -> Record:
        """An order of the customer in one of the states that no errand has yet."""
        fitting = [
            order
            for order in self.index.orders_of(self.user["user_id"])
            if order["status"] in statuses
            and order["order_id"] not in self.taken
            and order["order_id"] in self.index.by_status.get(order["status"], ())
            and (self.mode is ToolMode.GIVEN or self.index.telling_item(order))
        ]
        if not fitting:
            raise NothingFitsError(
                f"no customer with what the plan wants has another {' or '.join(statuses)} order"
            )
        order = self.rng.choice(fitting)
        self.taken.add(order["order_id"])
        return order

    def name(self, order: Record) -> str:
        """The order in the customer's words: by its id, or by what is in it."""
        if self.mode is ToolMode.GIVEN:
            return f"order {order['order_id']}"
        return f"{{my}} order with the {self.index.telling_item(order)}"

    def read_profile(self, desk: Desk) -> None:
        if not self.profile_read:
            desk.call("get_user_details", user_id=self.user["user_id"])
            self.profile_read = True

    def find(self, desk: Desk, order: Record) -> None:
        """The agent looks the order up; by id, or through all of the customer's orders."""
        wanted = [order["order_id"]]
        if self.mode is ToolMode.SEARCH:
            self.read_profile(desk)
            known = list(self.user["orders"])
            wanted = known[: known.index(order["order_id"]) + 1]
        for order_id in wanted:
            if order_id not in self.orders_read:
                self.orders_read.add(order_id)
                desk.call("get_order_details", order_id=order_id)


MakeErrand = Callable[[Call], Errand]
