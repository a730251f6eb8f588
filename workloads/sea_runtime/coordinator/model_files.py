"""Whether a base model's files can be loaded: weights, tokenizer, chat template. Blocking.

After `base_model` has found or made the folder and `model_fit` has read its configuration, before
any pod loads it: a pointer in place of a shard, or a tensor that no parameter takes, would
otherwise end trainer and engines after minutes of downloading, or train something else than the
model.
"""

import logging
import tempfile
from pathlib import Path

from sea_api.v1alpha1.job import Spec
from sea_data import urls
from sea_data.models import shape as shapes
from sea_data.models import tokenizer_ids, weight_files
from sea_data.models.shape import ModelConfigError
from sea_data.models.tokenizer_ids import TokenizerFileError
from sea_data.models.weight_files import WeightFileError
from sea_data.object_store import ObjectNotFoundError
from sea_env.tokens import model_folder
from sea_env.tokens.model_folder import UnsuitableTokenizerError
from sea_env.tokens.renderer import Renderer
from sea_env.tokens.style import call_format
from sea_runtime.coordinator import stage_plan
from sea_runtime.coordinator.errors import PreconditionError
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
    found = weight_files.read(weight_files.in_store(store, folder))
    if config is None:  # an engine may serve what the trainer can't train: quantized folders too
        return
    for sentence in weight_files.problems(shapes.parse(config), found):
        raise WeightFileError(f"{sentence[0].upper()}{sentence[1:]}.")


def _tokenizer(
    store: ObjectStore, spec: Spec, config: bytes, folder: str, strips_thoughts: bool
) -> None:
    try:
        body = store.get(urls.join(folder, TOKENIZER))
    except ObjectNotFoundError as error:
        raise TokenizerFileError(
            f"The model folder {folder} has no {TOKENIZER}: save the model's fast tokenizer there."
        ) from error
    if weight_files.is_lfs_pointer(body):
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
