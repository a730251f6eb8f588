"""Files of rows: plain, packed, in S3, damaged, huge; by stream and by position."""

import bz2
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from sea_data.errors import DataFileError, NoSuchFileError, RowError
from sea_data.formats import compression, data_files, jsonl
from sea_data.formats.jsonl import RowFile
from sea_testing.waiting import HANG_S

ROWS = [{"n": number, "text": "é" * number} for number in range(50)]
PLAIN = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()
PACK: dict[str, Callable[[bytes], bytes]] = {
    ".bz2": bz2.compress,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.compress,
}
SKIPPED = b"\x50\x2a\x4d\x18\x05\x00\x00\x00hello"
"""A skippable frame, as `pzstd` and the seekable format write them."""


def in_halves(pack: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Two packed files put together are one: `cat a.gz b.gz`, and what parallel packers write."""
    return lambda data: pack(data[:99]) + pack(data[99:])


class Bucket:
    """The two calls of the object store, over a dictionary."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self.objects = objects
        self.reads = 0

    def size(self, url: str) -> int | None:
        return len(self.objects[url]) if url in self.objects else None

    def read_range(self, url: str, start: int, length: int) -> bytes:
        self.reads += 1
        return self.objects[url][start : start + length]


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [("", bytes), *PACK.items(), *((suffix, in_halves(pack)) for suffix, pack in PACK.items()),
     (".zst", lambda data: SKIPPED + zstandard.compress(data) + SKIPPED),
     (".xz", lambda data: lzma.compress(data) + bytes(8))],
)  # fmt: skip
@pytest.mark.parametrize("remote", [False, True])
def test_all_forms_read_alike(
    tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes], remote: bool
) -> None:
    data = pack(PLAIN)
    path = tmp_path / f"rows.jsonl{suffix}"
    path.write_bytes(data)
    address = f"s3://b/rows.jsonl{suffix}" if remote else str(path)
    store = Bucket({address: data})
    seen: list[tuple[int, int]] = []
    found = list(data_files.lines(address, store, lambda *done: seen.append(done)))
    assert b"\n".join(found) + b"\n" == PLAIN
    assert seen[-1] == (len(data), len(data))
    with RowFile.open(data_files.local(address, tmp_path / "cache", store), address) as rows:
        assert [row for _, row in rows.rows()] == ROWS


def test_a_copy_is_made_once_per_version(tmp_path: Path) -> None:
    store = Bucket({"s3://b/x.jsonl": b"{}\n"})
    first = data_files.local("s3://b/x.jsonl", tmp_path, store)
    reads = store.reads
    assert data_files.local("s3://b/x.jsonl", tmp_path, store) == first
    assert store.reads == reads
    store.objects["s3://b/x.jsonl"] = b"{}\n{}\n"
    assert data_files.local("s3://b/x.jsonl", tmp_path, store).read_bytes() == b"{}\n{}\n"


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("damage", ["cut", "last byte", "broken", "not packed", "empty"])
def test_damaged_files_are_a_sentence(tmp_path: Path, suffix: str, damage: str) -> None:
    packed = in_halves(PACK[suffix])(PLAIN)
    middle = len(packed) // 2
    broken = {
        "cut": packed[:middle],
        "last byte": packed[:-1],
        "broken": packed[:middle] + bytes(8) + packed[middle + 8 :],
        "not packed": PLAIN,
        "empty": b"",
    }
    path = tmp_path / f"x.jsonl{suffix}"
    path.write_bytes(broken[damage])
    with pytest.raises(DataFileError, match="damaged or ends too early"):
        list(data_files.lines(str(path)))
    with pytest.raises(DataFileError, match="damaged or ends too early"):
        data_files.local(str(path), tmp_path / "cache")
    assert not list(tmp_path.glob("cache/*.jsonl")), "half a copy is no copy"


def test_frames_may_end_anywhere_in_a_piece() -> None:
    """Padding of xz at the start of a piece, too."""
    for suffix, pack in PACK.items():
        packed = in_halves(pack)(PLAIN) + (bytes(4) if suffix == ".xz" else b"")
        singly = (packed[i : i + 1] for i in range(len(packed)))
        assert b"".join(compression.decompress(singly, f"x{suffix}")) == PLAIN


@pytest.mark.component
@pytest.mark.parametrize("suffix", PACK)
def test_what_unpacks_to_a_gigabyte_is_never_held(suffix: str) -> None:
    packed = PACK[suffix](bytes(64 << 20)) * 4
    sizes = [len(piece) for piece in compression.decompress([packed], f"x{suffix}")]
    assert sum(sizes) == 4 * 64 << 20
    assert max(sizes) <= 40 << 20
    with pytest.raises(DataFileError, match="unpacks to more than 256 MiB"):
        compression.whole(packed + PACK[suffix](b"x"), f"x{suffix}")


def test_failures_of_the_store_stay_what_they_are() -> None:
    def pieces() -> Iterator[bytes]:
        yield b""
        raise TimeoutError("the store is down")

    for suffix in PACK:
        with pytest.raises(TimeoutError, match="down"):
            list(compression.decompress(pieces(), f"x{suffix}"))


@pytest.mark.parametrize("address", ["nowhere.jsonl", "s3://b/nowhere.jsonl"])
def test_missing_files_are_a_sentence(tmp_path: Path, address: str) -> None:
    with pytest.raises(NoSuchFileError, match=r"nowhere.jsonl: .*(correct|upload)"):
        list(data_files.lines(address, Bucket({})))
    with pytest.raises(NoSuchFileError):
        data_files.local(address, tmp_path, Bucket({}))


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="is a folder: name a file in it"):
        list(data_files.lines(str(tmp_path)))


@given(st.lists(st.sampled_from([b"", b" ", b"\t\r", b'{"a":1}', b"x" * 99])), st.booleans())
def test_positions_are_those_of_the_stream(parts: list[bytes], ended: bool) -> None:
    data = b"\n".join(parts) + (b"\n" if ended else b"")
    streamed = list(jsonl.objects(jsonl.split([data[:7], data[7:]]), "f"))
    with RowFile.of_lines(data.split(b"\n"), "f") as rows:
        found = [(rows.line(position), row) for position, row in rows.rows()]
    assert [number for number, _ in streamed] == [number for number, _ in found]
    assert [isinstance(row, dict) for _, row in streamed] == [
        isinstance(row, dict) for _, row in found
    ]


def test_any_position_and_shuffled_epochs(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"\n" + PLAIN)
    with RowFile.open(path) as rows:
        assert len(rows) == 50
        assert (rows.get(31), rows.line(31)) == (ROWS[31], 33)
        first, second = ([i for i, _ in rows.shuffled(7, epoch)] for epoch in (0, 1))
        assert sorted(first) == sorted(second) == list(range(50))
        assert first != second
        assert first == [i for i, _ in rows.shuffled(7, 0)]
        assert all(row == ROWS[i] for i, row in rows.shuffled(7, 0))


def test_a_line_without_end_costs_no_memory(tmp_path: Path) -> None:
    """A file without newlines is one bad row, of which only the beginning is held."""
    pieces = (b"x" * (1 << 20) for _ in range(40))
    found = list(jsonl.split(pieces))
    assert [len(line) for line in found] == [jsonl.MAX_LINE_BYTES + 1]
    assert "longer than 16 MiB" in str(jsonl.parse(found[0], "f", 1))
    path = tmp_path / "x.jsonl"
    with path.open("wb") as file:
        file.truncate(40 << 20)
        file.seek(0, io.SEEK_END)
        file.write(b"\n{}\n")
    with RowFile.open(path) as rows:
        error = rows.get(0)
        assert isinstance(error, RowError)
        assert rows.get(1) == {}


@pytest.mark.component
@pytest.mark.parametrize("suffix", ["", ".zst"])
def test_100_mb_of_dialogues_in_little_memory(
    tmp_path: Path, write_sft: Callable[..., Path], suffix: str
) -> None:
    path = write_sft(tmp_path / "sft.jsonl", 300, 13, 22500)
    size = path.stat().st_size
    assert size > 95e6
    if suffix:
        plain, path = path, tmp_path / f"sft.jsonl{suffix}"
        with plain.open("rb") as read, path.open("wb") as written:
            zstandard.ZstdCompressor().copy_stream(read, written)
        plain.unlink()
    code = (
        "import sys, pathlib\n"
        "from sea_data.formats import data_files, sft\n"
        "from sea_data.formats.jsonl import RowFile\n"
        # Not getrusage: its peak is at least that of who started this process.
        "def peak():\n"
        "    status = pathlib.Path('/proc/self/status').read_text()\n"
        "    return int(status.split('VmHWM:')[1].split()[0])\n"
        "before = peak()\n"
        "rows = RowFile.open(data_files.local(sys.argv[1], pathlib.Path(sys.argv[2])))\n"
        "assert len(rows) == 3900\n"
        "assert sum(1 for _ in rows.shuffled(0, 0)) == 3900\n"
        "assert sum(1 for _ in sft.select([rows]).dialogues()) == 240\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(tmp_path / "copies")],
        capture_output=True, text=True, timeout=HANG_S, env=os.environ,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 60_000, "kilobytes"
