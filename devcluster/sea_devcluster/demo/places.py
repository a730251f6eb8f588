"""Which objects of a finished run are its product: the agent, and the page about it. Pure."""

from collections.abc import Sequence
from typing import Any

MODEL_STAGES = ("Sft", "Rl")
"""Stages that train the agent; the last one's export is what the job was for."""


def trained_model(run_url: str, stages: Sequence[Any]) -> str | None:
    """Address of the agent's folder in Hugging Face's layout; None where none was trained."""
    stage = _last(stages, MODEL_STAGES)
    return f"{run_url.rstrip('/')}/stages/{stage}/export" if stage else None


def report_page(stages: Sequence[Any]) -> str | None:
    """Key below the run's root of the last evaluation's page; None where nothing was evaluated."""
    stage = _last(stages, ("Evaluation",))
    return f"evaluation/{stage}.html" if stage else None


def _last(stages: Sequence[Any], types: tuple[str, ...]) -> str | None:
    names = [str(stage["name"]) for stage in stages if stage["type"] in types]
    return names[-1] if names else None
