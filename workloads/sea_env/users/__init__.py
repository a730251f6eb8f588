"""Simulated users: scripted, our own model, or any OpenAI-compatible endpoint.

Each answers `reply(dialogue)` with the user's next turn; signals end the dialogue.
"""
