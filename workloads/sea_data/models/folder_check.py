"""Whether a folder's weights are those that its `config.json` says, all of them and no others.

Asked by the coordinator before any pod loads the model, by the trainer when it loads it, and by
`sea model check`. Headers decide, but for one case: an output layer of its own next to
`tie_word_embeddings`. transformers 5 ties the two only if they hold the same values, vLLM and
Megatron tie them whatever they hold, so the values are compared here.
"""

from collections.abc import Mapping

from sea_data.models import tensors, weight_files
from sea_data.models.shape import ModelShape
from sea_data.models.weight_files import Files, Tensor, WeightFileError

_PIECE_BYTES = 16 << 20
"""Of a tensor, read at once."""


def check(files: Files, shape: ModelShape) -> None:
    """Raises WeightFileError: it names the tensor or the file, and what to do."""
    found = weight_files.read(files)
    for sentence in weight_files.problems(shape, found):
        raise WeightFileError(f"{sentence[0].upper()}{sentence[1:]}.")
    if shape.tied and tensors.HEAD in found and not _same(files, found):
        raise WeightFileError(
            f"{found[tensors.HEAD].file} has the tensor {tensors.HEAD} with other values than "
            f"{tensors.EMBEDDING}, but config.json has tie_word_embeddings true: transformers "
            "computes with both, vLLM and the trainer with one. Set tie_word_embeddings to false "
            "if the model was trained with both, or remove the tensor."
        )


def _same(files: Files, found: Mapping[str, Tensor]) -> bool:
    """Whether the output layer holds the embedding's values, byte by byte."""
    head, embedding = found[tensors.HEAD], found[tensors.EMBEDDING]
    if (head.dtype, head.shape, head.size) != (embedding.dtype, embedding.shape, embedding.size):
        return False
    return all(
        files.read(head.file, head.begin + start, length)
        == files.read(embedding.file, embedding.begin + start, length)
        for start in range(0, head.size, _PIECE_BYTES)
        for length in [min(_PIECE_BYTES, head.size - start)]
    )
