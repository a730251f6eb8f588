"""`shop`: a customer-service domain small enough for a model of three million parameters.

Four intents, six tools, ids of a letter and a digit: short dialogues that a laptop learns from in
minutes, with a real policy and a real database.
"""
