"""Files that are something else than they are called, wherever they are read."""

import gzip
import json
from pathlib import Path
from random import Random

import pytest
import zstandard

from sea_cli import main
from sea_data.errors import DataFileError
from sea_data.formats import data_files, database_files
from sea_data.formats.jsonl import RowFile
from sea_data.object_store import ObjectNotFoundError
from sea_env.domains import registry
from sea_env.domains.database import DatabaseError

ROW = {
    "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "Hi"}],
    "answer": {"role": "assistant", "content": "Ok"},
}
LINE = json.dumps(ROW).encode() + b"\n"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12\n"
FOREIGN = [
    ("a.jsonl", POINTER, "is a Git LFS pointer"),
    ("a.jsonl.gz", POINTER, "is a Git LFS pointer"),
    ("a.jsonl", gzip.compress(LINE), r"is packed by gzip: .* the ending \.gz"),
    ("a.jsonl.gz", gzip.compress(gzip.compress(LINE)), "is packed by gzip"),
    ("a.jsonl", b"PAR1\x15\x04PAR1", "is a Parquet file"),
    ("a.jsonl", LINE.decode().encode("utf-16"), "is text in UTF-16"),
    ("a.jsonl", b"\n<!DOCTYPE html><html></html>", "is a web page"),
    ("a.jsonl.zst", b"<html>404</html>", "is a web page"),
    ("a.jsonl", b"\xef\xbb\xbf<!doctype html>", "is a web page"),
    # Digits of noise: the decoder gives empty pieces until it has the first block.
    (
        "a.jsonl.zst",
        zstandard.compress(b"PAR1" + Random(1).randbytes(1 << 16).hex().encode()),
        "is a Parquet file",
    ),
]


class Bucket:
    """With one object."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def size(self, _: str) -> int:
        return len(self._content)

    def read_range(self, _: str, start: int, length: int) -> bytes:
        return self._content[start : start + length]


@pytest.mark.parametrize(("name", "content", "words"), FOREIGN)
def test_what_a_data_file_is_instead_is_one_sentence(
    tmp_path: Path, name: str, content: bytes, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pointer gave three bad rows of invalid JSON."""
    file = tmp_path / name
    file.write_bytes(content)
    for address, given in ((str(file), None), (f"s3://b/{name}", Bucket(content))):
        with pytest.raises(DataFileError, match=words):
            list(data_files.lines(address, given))
        with pytest.raises(DataFileError, match=words):
            data_files.local(address, tmp_path / "copies", given)
    for command in ("check", "stats"):
        assert main(["data", command, str(file)]) != 0
        assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_text_is_read(tmp_path: Path) -> None:
    for name, content in (("a.jsonl", b"\xef\xbb\xbf" + LINE), ("a.jsonl.gz", gzip.compress(LINE))):
        (tmp_path / name).write_bytes(content)
        path = data_files.local(str(tmp_path / name), tmp_path / "copies")
        with RowFile.open(path, name) as rows:
            assert rows.get(0) == ROW
    (tmp_path / "empty.jsonl").write_bytes(b"")
    assert list(data_files.lines(str(tmp_path / "empty.jsonl"))) == []


@pytest.mark.parametrize("name", ["db.json", "db.toml", "db.json.gz"])
def test_a_database_that_is_a_pointer_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(POINTER)
    with pytest.raises(DatabaseError, match="is a Git LFS pointer, not the file itself"):
        database_files.read(registry.get("retail"), tmp_path / name)


def test_a_policy_that_is_a_pointer_is_no_prompt() -> None:
    """It became the system prompt of every episode."""

    def get(url: str) -> bytes:
        if url != "s3://b/d/policy.md":
            raise ObjectNotFoundError(url)
        return POINTER

    with pytest.raises(
        DatabaseError, match=r"The policy of retail next to .* is a Git LFS pointer"
    ):
        database_files.fetch_policy(registry.get("retail"), "s3://b/d/db.json", get)


def test_a_small_text_that_is_a_pointer_is_named(tmp_path: Path) -> None:
    (tmp_path / "policy.md").write_bytes(POINTER)
    with pytest.raises(DataFileError, match=r"policy\.md: is a Git LFS pointer"):
        data_files.text(tmp_path / "policy.md")


@pytest.mark.parametrize("content", [b"a\nb\n", b"a\r\nb\r\n", b"\xef\xbb\xbfa\rb\r"])
def test_a_policy_is_the_same_prompt_in_a_job_and_in_an_evaluation(
    tmp_path: Path, content: bytes
) -> None:
    """A job's prompt kept the line ends that Windows had written."""
    (tmp_path / "policy.md").write_bytes(content)

    def get(url: str) -> bytes:
        if url != "s3://b/d/policy.md":
            raise ObjectNotFoundError(url)
        return content

    job = database_files.fetch_policy(registry.get("retail"), "s3://b/d/db.json", get)
    assert job == data_files.text(tmp_path / "policy.md") == "a\nb\n"
