"""Finding and building the control plane's programs, without building anything."""

from pathlib import Path

import pytest

from sea_devcluster import binaries, build, toolchain
from sea_devcluster.errors import BinariesError
from sea_devcluster.paths import cache_root, module_folder, state_root


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No programs anywhere."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(binaries.ENVIRONMENT_VARIABLE, raising=False)
    return tmp_path


def _program(folder: Path, name: str, text: str = "#!/bin/sh\n") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_programs_are_cached_by_the_hash_of_the_pinned_module(empty_cache: Path) -> None:
    """Another go.sum is another folder."""
    assert binaries.locate() is None
    folder = binaries.cache_folder()
    assert folder.is_relative_to(empty_cache)
    assert folder.name == binaries.module_hash(module_folder())
    for name in binaries.PROGRAMS:
        _program(folder, name)
    assert binaries.locate() == folder


def test_the_hash_depends_on_both_files(tmp_path: Path) -> None:
    """go.mod names what to build, go.sum its exact sources."""
    (tmp_path / "go.mod").write_text("a")
    (tmp_path / "go.sum").write_text("b")
    first = binaries.module_hash(tmp_path)
    (tmp_path / "go.mod").write_text("c")
    assert binaries.module_hash(tmp_path) != first


def test_a_given_folder_that_lacks_programs_is_an_error(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence names what is missing."""
    _program(empty_cache / "bin", "etcd")
    monkeypatch.setenv(binaries.ENVIRONMENT_VARIABLE, str(empty_cache / "bin"))
    with pytest.raises(BinariesError, match="lacks kube-apiserver"):
        binaries.locate()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("go1.27.3", (1, 27, 3)), ("1.26.0", (1, 26, 0)), ("go1.27rc1", (1, 27)), ("", ())],
)
def test_go_versions_are_numbers(text: str, expected: tuple[int, ...]) -> None:
    """As `go env GOVERSION` and go.mod write them."""
    assert toolchain.parse_version(text) == expected


def test_the_first_go_that_is_new_enough_is_taken(tmp_path: Path) -> None:
    """An old one on PATH does not hide the one in .tools."""
    old = _program(tmp_path / "old", "go", "#!/bin/sh\necho go1.20.1\n")
    new = _program(tmp_path / "new", "go", "#!/bin/sh\necho go1.99.0\n")
    assert toolchain.find_go([tmp_path / "none", old, new]) == new


def test_no_go_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    """It says what there is and what is needed."""
    old = _program(tmp_path, "go", "#!/bin/sh\necho go1.20.1\n")
    with pytest.raises(BinariesError, match=r"1\.20\.1\).*make setup"):
        toolchain.find_go([old])


@pytest.mark.parametrize(
    ("output", "remedy"),
    [
        ("dial tcp: lookup proxy: no such host", "GOPROXY"),
        ("write /x: no space left on device", "go clean -cache"),
        ("main.go:1: syntax error", "Go said"),
    ],
)
def test_a_failed_build_says_what_to_do(output: str, remedy: str) -> None:
    """Known causes have a remedy, others show the compiler's output."""
    assert remedy in build.explain(output, ["go", "install"])


def test_a_build_moves_each_program_into_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a stand-in for the compiler: names, progress, nothing half-built left."""
    script = '#!/bin/sh\nfor last; do :; done\necho x > "$GOBIN/$(basename "${last%/v3}")"\n'
    fake = _program(tmp_path / "bin", "go", script.replace("echo", 'mkdir -p "$GOBIN"; echo'))
    monkeypatch.setattr(build, "find_go", lambda: fake)
    lines: list[str] = []
    folder = tmp_path / "cache"
    build.build_into(folder, tmp_path, lines.append)
    assert {path.name for path in folder.iterdir()} == {*binaries.PROGRAMS, ".lock"}
    assert any("[2/5] kube-apiserver" in line for line in lines)


def test_helm_is_built_when_it_is_asked_for_and_not_with_the_control_plane(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only tests of the chart need it."""
    script = '#!/bin/sh\nfor last; do :; done\nmkdir -p "$GOBIN"; echo x > "$GOBIN/${last##*/}"\n'
    fake = _program(empty_cache / "bin", "go", script)
    monkeypatch.setattr(build, "find_go", lambda: fake)
    assert build.HELM not in build.PACKAGES
    helm = build.find_or_build_helm(lambda _: None)
    assert helm == binaries.cache_folder() / "helm"
    assert helm.read_text() == "x\n"
    fake.unlink()
    helm.chmod(0o755)
    assert build.find_or_build_helm(lambda _: None) == helm


def test_too_little_disk_for_a_build_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the compiler runs for minutes."""
    monkeypatch.setattr(build, "find_go", lambda: tmp_path / "go")
    monkeypatch.setattr(build, "MIN_FREE_BYTES", 1 << 62)
    with pytest.raises(BinariesError, match="GB free"):
        build.build_into(tmp_path / "cache", tmp_path, lambda _: None)


def test_the_version_is_stamped_into_the_programs() -> None:
    """`kubectl version` must report what was built."""
    flags = build.link_flags("v1.36.3")
    assert "version.gitVersion=v1.36.3" in flags
    assert "version.gitMinor=36" in flags


def test_relative_xdg_folders_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the XDG specification says."""
    monkeypatch.setenv("XDG_CACHE_HOME", "somewhere")
    monkeypatch.setenv("XDG_STATE_HOME", "/var/x")
    assert cache_root() == Path.home() / ".cache" / "sea-operator"
    assert state_root() == Path("/var/x/sea-operator/devclusters")
