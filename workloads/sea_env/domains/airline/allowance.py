"""Checked bags that fly free: by the user's membership and the cabin, for each passenger."""

FREE_BAGS = {
    "regular": {"basic_economy": 0, "economy": 1, "business": 2},
    "silver": {"basic_economy": 1, "economy": 2, "business": 3},
    "gold": {"basic_economy": 2, "economy": 3, "business": 4},
}


def paid_bags(membership: str, cabin: str, passengers: int, bags: int) -> int:
    """How many of these bags are beyond the free ones."""
    return max(0, bags - FREE_BAGS[membership][cabin] * passengers)
