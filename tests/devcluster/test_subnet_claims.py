"""Claims on parts of 127.0.0.0/8: one registry per user, for all shells."""

import os
import tempfile
from pathlib import Path

import pytest

from sea_devcluster import subnets
from sea_devcluster.errors import StartError


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry for this test alone; returns its folder."""
    monkeypatch.setattr(subnets, "REGISTRY_PARENT", tmp_path)
    return tmp_path / f"sea-devcluster-{os.getuid()}"


def _owner(folder: Path, name: str) -> Path:
    owner = folder / name
    owner.mkdir()
    return owner


def test_shells_with_different_tmpdirs_share_one_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two clusters that are not up yet got the same addresses."""
    owners = [_owner(tmp_path, name) for name in ("one", "two")]
    try:
        claims = []
        for owner in owners:
            monkeypatch.setenv("TMPDIR", str(owner))
            monkeypatch.setattr(tempfile, "tempdir", None)
            claims.append(subnets.claim(owner))
        assert claims[0] != claims[1]
        assert [list(owner.iterdir()) for owner in owners] == [[], []]
    finally:
        for owner in owners:
            subnets.release(owner)


def test_a_claim_that_was_cut_is_none(registry: Path, tmp_path: Path) -> None:
    """It would keep its subnet indefinitely: an empty path is the current folder."""
    owner = _owner(tmp_path, "one")
    first = subnets.claim(owner)
    (registry / str(first.second)).write_text("")
    assert subnets.claimed(owner) is None
    assert not (registry / str(first.second)).exists()


def test_a_cluster_takes_its_old_subnet_up_again(registry: Path, tmp_path: Path) -> None:
    """Machines empty their /tmp; the cluster's certificates and files still name its addresses."""
    one, two = _owner(tmp_path, "one"), _owner(tmp_path, "two")
    first = subnets.claim(one)
    (registry / str(first.second)).unlink()
    assert subnets.claim(one, wanted=first.second) == first
    assert subnets.claim(two) != first
    with pytest.raises(StartError, match=f"belongs to the one in {one}"):
        subnets.claim(two, wanted=first.second)


@pytest.mark.parametrize(
    ("taken", "start", "expected"),
    [
        (set(), 60, 60),
        (set(), 100, 100),
        (set(range(100, 251)), 100, 60),
        ({250, 60}, 250, 61),
    ],
)
def test_users_start_at_different_subnets(taken: set[int], start: int, expected: int) -> None:
    """Another user's claims can't be seen before something listens there."""
    assert subnets.choose(taken, start) == expected


def test_a_registry_of_another_user_is_not_trusted(
    registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may make a folder in /tmp."""
    registry.mkdir(parents=True)
    stranger = os.getuid() + 1
    registry.rename(tmp_path / f"sea-devcluster-{stranger}")
    monkeypatch.setattr(os, "getuid", lambda: stranger)
    with pytest.raises(StartError, match="belongs to another user"):
        subnets.claim(_owner(tmp_path, "one"))
