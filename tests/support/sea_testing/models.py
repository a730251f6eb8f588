"""A small complete model folder, in an object store or on disk."""

from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol


class Puts(Protocol):
    def put(self, url: str, body: bytes) -> object: ...


@lru_cache(maxsize=1)
def tiny_files() -> dict[str, bytes]:
    """The files of `builtin:tiny` with a tokenizer of a few words."""
    from sea_data.tiny_model import model_folder

    with TemporaryDirectory() as place:
        model_folder.build(["Hello, where is my order?"] * 3, Path(place), 65536)
        return {file.name: file.read_bytes() for file in Path(place).iterdir()}


def put_tiny_model(store: Puts, url: str) -> None:
    for name, body in tiny_files().items():
        store.put(f"{url}/{name}", body)
