"""Rewards: the product over a task's basis, by replay, assertions and what was said."""
