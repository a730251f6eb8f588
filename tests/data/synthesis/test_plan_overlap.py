"""When two plans are one."""

import json
from collections.abc import Mapping

import pytest

from sea_data.synthesis.agents import planner
from sea_data.synthesis.plan import Plan, Style, ToolMode

ONE = Plan(
    "a",
    "retail",
    ("cancel an order", "return an item"),
    ToolMode.GIVEN,
    Style.TERSE,
    "one pending order of a new customer",
)


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"id": "b", "revision": 3, "evaluation": "mind the policy"}, True),
        ({"goals": ("Return an item.", "Cancel order")}, True),
        ({"goals": ("cancelling orders", "returning items")}, True),
        ({"goals": ("the customer wants to cancel an order and return an item",)}, True),
        ({"guidance": ""}, True),
        ({"guidance": "One pending order of some new customers!"}, True),
        ({"guidance": "three delivered orders, all of them toys"}, False),
        ({"goals": ("cancel an order",)}, False),
        ({"goals": ("cancel an order", "exchange an item")}, False),
        ({"goals": ("cancel an order", "return an item", "change the address")}, False),
        ({"style": Style.CHATTY}, False),
        ({"mode": ToolMode.SEARCH}, False),
    ],
)
def test_plans_overlap_by_corner_and_by_words(changes: Mapping[str, object], same: bool) -> None:
    other = Plan(**{**ONE.as_dict(), **changes})
    assert planner.overlaps(ONE, other) is same
    assert planner.overlaps(other, ONE) is same
    assert Plan.from_dict(json.loads(json.dumps(other.as_dict()))) == other


@pytest.mark.parametrize(
    ("words", "stems"),
    [
        ("Cancelling the orders, cancellation of an order", {"cancel", "order"}),
        ("billing / bills", {"bil"}),
        ("changed changes to change", {"chang"}),
        ("city cities", {"cit"}),
        ("", set()),
        ("the of a", set()),
    ],
)
def test_stems(words: str, stems: set[str]) -> None:
    assert planner.stems(words) == stems


def test_plans_of_other_alphabets_are_told_apart() -> None:
    one = Plan("a", "retail", ("отменить заказ",), ToolMode.GIVEN, Style.TERSE)
    other = Plan("b", "retail", ("вернуть товар",), ToolMode.GIVEN, Style.TERSE)
    assert not planner.overlaps(one, other)
    assert planner.overlaps(one, one)
