"""Dialogue <-> tokens: chat markup, exact-prefix rendering, strict parsing of what the agent wrote.

Sits between the episode loop (which speaks in messages) and the engine (which speaks in token
ids). Nothing here imports torch or transformers: `tokenizers` is enough.
"""
