"""Rewards: the product over a task's basis, by replay, assertions, text, functions and judges."""
