"""Simulated users: scripted, our own model, or any OpenAI-compatible endpoint.

Each answers `reply(dialogue)` with the next thing the user says; signals end the dialogue.
"""
