"""Where a stage's data come from: the spec's files, and what Synthesis stages before it have made.

A Synthesis stage leaves one data set a domain under `stages/<stage>/data/<domain>/` (the name as
`file_name` spells it): task and dialogue files, and the databases that the tasks name, relative to
that folder. A stage that names files of its own reads those only.
"""

from collections.abc import Collection, Iterator

from sea_api.v1alpha1.domains import file_name
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.stages import Stage, StageType
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_data import urls
from sea_data.synthesis.dataset import DIALOGUES, TASKS


def made_folder(run_url: str, stage: str, domain: str = "") -> str:
    """Folder of a Synthesis stage's data, or of one domain's data set in it."""
    parts = [file_name(domain)] if domain else []
    return urls.join(run_url, "stages", stage, "data", *parts)


def task_files(desired: CoordinatorSpec, stage: Stage) -> list[str]:
    """Task files that a stage draws prompts from."""
    spec = desired.spec
    if stage.type == StageType.RL:
        return [*spec.data.rl, *_made(desired, stage, TASKS)]
    if stage.type == StageType.EVALUATION and stage.evaluation is not None:
        own = stage.evaluation.tasks
        return own or [*spec.data.rl, *_made(desired, stage, TASKS)]
    return []


def dialogue_files(desired: CoordinatorSpec, stage: Stage) -> list[str]:
    """Dialogue files that a stage trains on."""
    block = {StageType.SFT: stage.sft, StageType.USER_SFT: stage.user_sft}.get(stage.type)
    if block is None:
        return []
    return block.data or [*desired.spec.data.sft, *_made(desired, stage, DIALOGUES)]


def databases(desired: CoordinatorSpec, file: str) -> str | None:
    """The folder that `db_path` is relative to in rows of this file."""
    for stage in _synthesis(desired.spec):
        if file.startswith(urls.folder(made_folder(desired.run_url, stage.name))):
            return file.rpartition("/")[0]
    return desired.spec.data.databases


def still_to_make(desired: CoordinatorSpec, complete: Collection[str]) -> set[str]:
    """Files that Synthesis stages, other than those in `complete`, have yet to write."""
    return {
        urls.join(made_folder(desired.run_url, stage.name, domain), name)
        for stage in _synthesis(desired.spec)
        if stage.name not in complete
        for domain in desired.spec.domains
        for name in (TASKS, DIALOGUES)
    }


def for_trainer(desired: CoordinatorSpec, index: int) -> Spec:
    """The spec as a stage's trainer reads it: `data.sft` holds what was made before it, too."""
    spec, stage = desired.spec, desired.spec.stages[index]
    made = _made(desired, stage, DIALOGUES)
    if not made:
        return spec
    data = spec.data.model_copy(update={"sft": [*spec.data.sft, *made]})
    return spec.model_copy(update={"data": data})


def _made(desired: CoordinatorSpec, stage: Stage, name: str) -> list[str]:
    """Files of that name from all Synthesis stages before this one."""
    place = [s.name for s in desired.spec.stages].index(stage.name)
    return [
        urls.join(made_folder(desired.run_url, before.name, domain), name)
        for before in desired.spec.stages[:place]
        if before.type == StageType.SYNTHESIS
        for domain in desired.spec.domains
    ]


def _synthesis(spec: Spec) -> Iterator[Stage]:
    return (stage for stage in spec.stages if stage.type == StageType.SYNTHESIS)
