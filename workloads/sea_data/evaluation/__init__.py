"""How good is the agent: episodes -> pass^k with intervals, failure kinds, a report page.

Two sources make episodes: the coordinator's Evaluation stages (rollout pods play them) and
`sea evaluate` (this package plays them against any OpenAI-compatible endpoint). Both write the same
lines (`records`); `scores`, `failures` and `report` read only those.
"""
