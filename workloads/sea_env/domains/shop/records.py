"""Records of the shop's database; unknown fields are refused."""

from pydantic import BaseModel, ConfigDict


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class User(_Closed):
    email: str
    name: str


class Order(_Closed):
    order: str
    email: str
    status: str
    total: int
    address: str
    refunded: int


class State(_Closed):
    transferred: bool


class Desk(_Closed):
    state: State


class ShopTables(_Closed):
    """The whole database."""

    users: dict[str, User]
    orders: dict[str, Order]
    desk: Desk
