"""Whether the agent's first prompt leaves room for an answer, before a pod with GPUs exists.

Policy and tools alone may be longer than `model.contextLength`: every episode would then end before
the agent had a turn, and an RL stage would run without ever finding a batch.
"""

import tempfile
from collections.abc import Collection
from pathlib import Path

from sea_api.v1alpha1.job import Spec
from sea_data.formats import database_files
from sea_env.domains import registry
from sea_env.tokens.renderer import Renderer
from sea_env.tokens.style import call_format
from sea_runtime.coordinator.errors import PreconditionError
from sea_runtime.coordinator.task_rows import TaskRow
from sea_runtime.store.folders import download_tokenizer
from sea_runtime.store.s3 import ObjectStore


def places(rows: Collection[TaskRow]) -> list[tuple[str, str]]:
    """Domain and database of the rows, each pair once: what a first prompt depends on."""
    return sorted({(row.domain, row.database) for row in rows if row.database is not None})


def check(store: ObjectStore, spec: Spec, model: str, rows: Collection[TaskRow]) -> None:
    """Renders each first prompt as a rollout worker does. Blocking.

    Args:
        model: address of the policy's folder.

    Raises:
        PreconditionError: PromptTooLong, for the first prompt that leaves no room.
        StoreError: the store could not be asked.
    """
    wanted = places(rows)
    if not wanted:
        return
    with tempfile.TemporaryDirectory(prefix="tokenizer-") as folder:
        download_tokenizer(store, model, Path(folder))
        renderer = Renderer.load(Path(folder), call_format(spec.model.tool_format.value))
    for name, url in wanted:
        domain = registry.get(name)
        policy = database_files.fetch_policy(domain, url, store.get)
        length = len(renderer.opening(domain.system_prompt(policy)))
        if length >= spec.model.context_length:
            raise PreconditionError(
                "PromptTooLong",
                f"The first prompt of the domain {name} (policy and tools, for the database {url}) "
                f"has {length} tokens without a word of the user, and spec.model.contextLength is "
                f"{spec.model.context_length}: no episode could begin. Raise contextLength (in a "
                "new job), or shorten the policy.",
            )
