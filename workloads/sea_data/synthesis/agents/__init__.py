"""Agents behind an OpenAI-compatible endpoint: planner, workers, checkers, reflection.

`endpoint` talks HTTP, `asking` gets one JSON object out of whatever comes back, a file each for the
roles, `crew` puts them together. What can be executed is executed: models propose, tools decide.
"""
