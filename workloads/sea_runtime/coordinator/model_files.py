"""Whether a base model's files can be loaded, and its first prompts leave room. Blocking.

After `base_model` has found or made the folder and `model_fit` has read its configuration, before
any pod loads it: a pointer in place of a shard, or a tensor that no parameter takes, would
otherwise end trainer and engines after minutes of downloading, or train something else than the
model.
"""

import logging
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

from sea_api.v1alpha1.job import Spec
from sea_data import foreign_files, urls
from sea_data.formats import database_files
from sea_data.formats.model_demands import Demand, unmet
from sea_data.models import folder_check, tokenizer_ids, weight_files
from sea_data.models import shape as shapes
from sea_data.models.shape import ModelConfigError
from sea_data.models.tokenizer_ids import TokenizerFileError
from sea_data.models.weight_files import WeightFileError
from sea_data.object_store import ObjectNotFoundError
from sea_env.domains import registry
from sea_env.tokens import model_folder
from sea_env.tokens.model_folder import UnsuitableTokenizerError
from sea_env.tokens.renderer import Renderer
from sea_env.tokens.style import call_format
from sea_runtime.coordinator import stage_plan
from sea_runtime.coordinator.data_check import CheckedData
from sea_runtime.coordinator.errors import BadRowError, PreconditionError
from sea_runtime.coordinator.task_rows import TaskRow
from sea_runtime.store.folders import download_tokenizer
from sea_runtime.store.s3 import ObjectStore

log = logging.getLogger(__name__)
TOKENIZER = "tokenizer.json"


def check(store: ObjectStore, spec: Spec, folder: str, stream: str) -> None:
    """Reads headers of the weights, the tokenizer and the template of the folder at `folder`.

    Raises:
        PreconditionError: the first file that can't be used, and what to do.
        StoreError: the store could not be asked.
    """
    source = stage_plan.model_source(spec, stream)
    try:
        config = store.get(urls.join(folder, "config.json"))
        _weights(store, config if is_trained(spec, stream) else None, folder)
        _tokenizer(store, spec, config, folder, stage_plan.strips_thoughts(spec, stream))
    except (WeightFileError, ModelConfigError, TokenizerFileError) as error:
        raise PreconditionError("ModelUnusable", f"{error} (The model is {source}.)") from error
    log.info("the files of %s can be loaded", source)


def is_trained(spec: Spec, stream: str) -> bool:
    """True if a stage of the job trains the stream's model."""
    return any(stage_plan.trains(s) and stage_plan.stream_of(s) == stream for s in spec.stages)


def _weights(store: ObjectStore, config: bytes | None, folder: str) -> None:
    files = weight_files.in_store(store, folder)
    if config is None:  # an engine may serve what the trainer can't train: quantized folders too
        weight_files.read(files)
    else:
        folder_check.check(files, shapes.parse(config))


def _tokenizer(
    store: ObjectStore, spec: Spec, config: bytes, folder: str, strips_thoughts: bool
) -> None:
    try:
        body = store.get(urls.join(folder, TOKENIZER))
    except ObjectNotFoundError as error:
        raise TokenizerFileError(
            f"The model folder {folder} has no {TOKENIZER}: save the model's fast tokenizer there."
        ) from error
    if foreign_files.is_lfs_pointer(body):
        raise TokenizerFileError(f"The model's {weight_files.lfs_sentence(TOKENIZER)}.")
    tokenizer_ids.check(body, shapes.vocabulary(config))
    # The renderer of trainer and workers, once: it finds a template or tokens that can't be used.
    with tempfile.TemporaryDirectory(prefix="tokenizer-") as place:
        path = Path(place)
        (path / TOKENIZER).write_bytes(body)
        (path / "config.json").write_bytes(config)
        for name in model_folder.FILES:
            try:
                (path / name).write_bytes(store.get(urls.join(folder, name)))
            except ObjectNotFoundError:
                continue
        try:
            calls = call_format(spec.model.tool_format.value)
            Renderer.load(path, calls, strips_thoughts=strips_thoughts)
        except UnsuitableTokenizerError as error:
            raise TokenizerFileError(str(error).replace(place, folder)) from error


def places(rows: Collection[TaskRow]) -> list[tuple[str, str]]:
    """Domain and database of the rows, each pair once: what a first prompt depends on."""
    return sorted({(row.domain, row.database) for row in rows if row.database is not None})


def check_data(
    store: ObjectStore, spec: Spec, folders: Mapping[str, str], data: CheckedData
) -> None:
    """Whether the job's data fits its models: first prompts, and what dialogues ask of a format.

    Args:
        folders: address of each stream's folder.

    Raises:
        PreconditionError: PromptTooLong for the first prompt that leaves no room, BadRow for the
            first dialogue that can't be trained.
        StoreError: the store could not be asked.
    """
    for stream, folder in folders.items():
        policy = stream == stage_plan.POLICY
        rows = [row for found in data.tasks.values() for row in found] if policy else []
        demanded = data.demands.get(stream, {})
        if not places(rows) and not demanded:
            continue
        renderer = _renderer(store, spec, folder)
        _require_formats(renderer, demanded)
        _require_room(store, spec, renderer, rows)


def _renderer(store: ObjectStore, spec: Spec, model: str) -> Renderer:
    with tempfile.TemporaryDirectory(prefix="tokenizer-") as folder:
        download_tokenizer(store, model, Path(folder))
        return Renderer.load(Path(folder), call_format(spec.model.tool_format.value))


def _require_formats(renderer: Renderer, demanded: Mapping[Demand, BadRowError]) -> None:
    """The trainer would refuse the same rows, on GPUs."""
    lacks = unmet(renderer)
    problem = next((found for demand, found in demanded.items() if demand in lacks), None)
    if problem is not None:
        raise problem


def _require_room(
    store: ObjectStore, spec: Spec, renderer: Renderer, rows: Collection[TaskRow]
) -> None:
    """Whether the agent's first prompts leave room for an answer, rendered as a worker does it.

    Policy and tools alone may be longer than `model.contextLength`: every episode would then end
    before the agent had a turn, and an RL stage would run without ever finding a batch.
    """
    for name, url in places(rows):
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
