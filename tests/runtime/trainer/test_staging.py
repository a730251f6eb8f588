"""Whether a state is copied: by the limit of the job and by the memory that the pod has left."""

from pathlib import Path

import pytest

from sea_runtime.trainer.checkpoint.staging import available_memory, refusal


@pytest.mark.parametrize(
    ("nbytes", "limit", "available", "ranks", "words"),
    [
        (100, 100, 1000, 8, ""),
        (101, 100, 1000, 8, "exceeds checkpoint.maxStagingBytes (100)"),
        (100, 100, 889, 8, ""),
        (100, 100, 888, 8, "8 copies of 100 bytes don't fit into the 888 bytes"),
        (0, 100, 0, 1, ""),
    ],
)
def test_a_copy_must_fit(nbytes: int, limit: int, available: int, ranks: int, words: str) -> None:
    found = refusal(nbytes, limit, available, ranks)
    assert words in found
    assert bool(found) == bool(words)


def test_pinned_memory_is_counted_as_torch_allocates_it() -> None:
    """The next power of two: a pod that 8 states of 35 GiB would fit into is killed by 8 of 64."""
    gib = 1 << 30
    limit, available = 64 * gib, 400 * gib
    assert not refusal(35 * gib, limit, available, 8)
    assert f"8 copies of {64 * gib} bytes" in refusal(35 * gib, limit, available, 8, pinned=True)
    assert not refusal(32 * gib, limit, available, 8, pinned=True)
    assert not refusal(0, 0, 0, 8, pinned=True)


@pytest.fixture
def meminfo(tmp_path: Path) -> Path:
    file = tmp_path / "meminfo"
    file.write_text("MemTotal:  4000 kB\nMemAvailable:  2000 kB\n")
    return file


@pytest.mark.parametrize(
    ("limit", "current", "cache", "found"),
    [
        (None, 0, 0, 2000 * 1024),
        ("max", 0, 0, 2000 * 1024),
        ("1000000", 700_000, 0, 300_000),
        ("1000000", 700_000, 500_000, 800_000),
        ("9000000", 0, 0, 2000 * 1024),
    ],
)
def test_the_memory_of_a_container_is_what_its_limit_leaves(
    tmp_path: Path, meminfo: Path, limit: str | None, current: int, cache: int, found: int
) -> None:
    """Cached files don't count: the kernel drops them first."""
    if limit is not None:
        (tmp_path / "memory.max").write_text(limit + "\n")
        (tmp_path / "memory.current").write_text(f"{current}\n")
        (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {cache}\n")
    assert available_memory(tmp_path, meminfo) == found
