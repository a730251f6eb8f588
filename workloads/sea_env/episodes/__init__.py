"""One episode as a state machine: fed with generated ids and user text, it says what it needs next.

No I/O, no clock, no randomness: the rollout worker does those and may hold thousands of episodes.
"""
