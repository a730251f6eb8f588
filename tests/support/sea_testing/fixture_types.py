"""Types of fixtures that tests of several folders take."""

from collections.abc import Callable
from typing import Any

Manifest = dict[str, Any]

Kubectl = Callable[..., str]
"""`kubectl(*arguments, stdin="")` -> its output."""
BuildJob = Callable[..., Manifest]
"""`job(patch)` -> the base job of `tests/api/cases/base.yaml` with the merge patch in it."""
Judge = Callable[..., str | None]
"""`judge(new, old=None)` -> None if it accepts the manifest or the edit, else its objection."""
