"""Where a finished run's product lies: the last trained model, the last evaluation's page."""

from collections.abc import Sequence
from typing import Any

MODEL_STAGES = ("SFT", "RL")
"""Stages that train the agent; the last one's export is the job's product."""


def trained_model(run_url: str, stages: Sequence[Any]) -> dict[str, str]:
    """What it is called for people, and its address; nothing where no stage trains one."""
    stage = _last(stages, MODEL_STAGES)
    return {"trained model": f"{run_url.rstrip('/')}/stages/{stage}/export"} if stage else {}


def report_page(stages: Sequence[Any]) -> str | None:
    """Key of the page below the run's root; None where no stage evaluates."""
    stage = _last(stages, ("Evaluation",))
    return f"evaluation/{stage}.html" if stage else None


def _last(stages: Sequence[Any], types: tuple[str, ...]) -> str | None:
    names = [str(stage["name"]) for stage in stages if stage["type"] in types]
    return names[-1] if names else None
