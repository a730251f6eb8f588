"""What a renderer needs from a model's folder, including the chat template if there is one."""

from pathlib import Path
from typing import Any

import pytest

from sea_api.v1alpha1.data import ToolFormat
from sea_data.object_store import ObjectNotFoundError
from sea_env.tokens.style import CallFormat, call_format
from sea_runtime.store import folders


class Bucket:
    def __init__(self, objects: dict[str, bytes]) -> None:
        self.objects = objects

    def get(self, url: str) -> bytes:
        try:
            return self.objects[url]
        except KeyError as error:
            raise ObjectNotFoundError(f"There is no {url}.") from error


FILES = {"s3://b/m/tokenizer.json": b"{}", "s3://b/m/config.json": b"{}"}


def fetched(target: Path, objects: dict[str, bytes]) -> list[str]:
    store: Any = Bucket(objects)
    folders.download_tokenizer(store, "s3://b/m", target)
    return sorted(path.name for path in target.iterdir())


def test_the_chat_template_is_fetched_and_a_removed_one_is_deleted(tmp_path: Path) -> None:
    template = {"s3://b/m/chat_template.jinja": b"x", "s3://b/m/tokenizer_config.json": b"{}"}
    assert fetched(tmp_path, FILES | template) == [
        "chat_template.jinja", "config.json", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    assert fetched(tmp_path, FILES) == ["config.json", "tokenizer.json"]
    with pytest.raises(ObjectNotFoundError):
        fetched(tmp_path, {})


@pytest.mark.parametrize("named", ToolFormat)
def test_every_format_of_the_job_is_one_of_the_renderers(named: ToolFormat) -> None:
    found = call_format(named)
    assert (found is None) == (named is ToolFormat.AUTO)
    assert found is None or found is CallFormat(named.value)
