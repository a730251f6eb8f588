"""Small models: a complete folder, in an object store or on disk; configurations and shapes."""

import json
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from sea_runtime.parallel.hf_config import ModelShape

MOE_CONFIG: dict[str, Any] = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "num_hidden_layers": 2,
    "hidden_size": 32,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "vocab_size": 64,
    "tie_word_embeddings": False,
}
"""A mixture of experts that trains in milliseconds, as in its config.json."""


def moe_shape(**changes: Any) -> "ModelShape":
    """Of `MOE_CONFIG` with other values, by the names of config.json."""
    from sea_runtime.parallel import hf_config

    return hf_config.parse(json.dumps(MOE_CONFIG | changes))


class Puts(Protocol):
    def put(self, url: str, body: bytes) -> object: ...


@lru_cache(maxsize=1)
def tiny_files() -> dict[str, bytes]:
    """The files of `builtin:tiny` with a tokenizer of a few words."""
    from sea_data.tiny_model import model_folder

    with TemporaryDirectory() as place:
        model_folder.build(["Hello, where is my order?"] * 3, Path(place), 65536)
        return {file.name: file.read_bytes() for file in Path(place).iterdir()}


REFUSES = "raise_exception('System message must be at the beginning.')"
"""As Qwen3.5's template does."""


def put_tiny_model(store: Puts, url: str, later_system: str | None = None) -> None:
    """`later_system`: what its template writes for one after the first, as a Jinja expression."""
    files = dict(tiny_files())
    if later_system is not None:
        later = (
            "{% for message in messages %}{% if message.role == 'system' and not loop.first %}"
            f"{{{{ {later_system} }}}}{{% endif %}}{{% endfor %}}"
        )
        config = json.loads(files["tokenizer_config.json"])
        config["chat_template"] = later + config["chat_template"]
        files["tokenizer_config.json"] = json.dumps(config).encode()
    for name, body in files.items():
        store.put(f"{url}/{name}", body)
