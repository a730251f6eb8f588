"""Records of the shop's database; unknown fields are refused."""

from sea_env.domains.validation import ClosedModel


class User(ClosedModel):
    email: str
    name: str


class Order(ClosedModel):
    order: str
    email: str
    status: str
    total: int
    address: str
    refunded: int


class State(ClosedModel):
    transferred: bool


class Desk(ClosedModel):
    state: State


class ShopTables(ClosedModel):
    """The whole database."""

    users: dict[str, User]
    orders: dict[str, Order]
    desk: Desk
