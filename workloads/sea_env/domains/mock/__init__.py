"""`mock`: tau2-bench's smallest domain: users, their tasks, and an inbox on the user's side.

It exists to exercise every part of an episode: tools of both sides, and initial states of each
kind.
"""
