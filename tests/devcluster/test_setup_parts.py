"""`make setup`: its pure parts, imported from `scripts/` as the program itself does."""

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from sea_devcluster.demo import main

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"


@pytest.fixture(scope="module", autouse=True)
def scripts_on_path() -> Iterator[None]:
    """`python3 scripts/setup.py` has its own folder first on the path."""
    sys.path.insert(0, str(SCRIPTS))
    yield
    sys.path.remove(str(SCRIPTS))


@pytest.fixture
def parts(scripts_on_path: None) -> ModuleType:
    """The package with its modules."""
    import sea_setup
    import sea_setup.main

    return sea_setup


def _sources() -> list[Path]:
    package = ROOT / "devcluster" / "sea_devcluster"
    shared = [package / f"{name}.py" for name in ("bubblewrap", "locks", "machine")]
    return [SCRIPTS / "setup.py", *sorted((SCRIPTS / "sea_setup").glob("*.py")), *shared]


@pytest.mark.parametrize("path", _sources(), ids=lambda path: path.name)
def test_setup_can_be_read_by_python_3_9(path: Path) -> None:
    """The machine's own Python starts it."""
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    assert tree.body


@pytest.mark.parametrize("path", _sources()[1:], ids=lambda path: path.name)
def test_annotations_are_not_evaluated(path: Path) -> None:
    """`X | None` in an annotation would end Python 3.9."""
    assert "|" not in path.read_text() or "from __future__ import annotations" in path.read_text()


def test_pips_settings_become_uvs(parts: ModuleType, tmp_path: Path) -> None:
    """Index, certificate and wheel folders of pip are honoured by uv."""
    listing = "\n".join(
        [
            "global.index-url='https://one.example/simple'",
            "global.cert='/etc/ca.pem'",
            ":env:.index-url='https://two.example/simple'",
            ":env:.extra-index-url='https://three.example/simple'",
            f":env:.find-links='{tmp_path} /no/such/folder https://wheels.example/'",
        ]
    )
    options = parts.pip_settings.parse(listing)
    settings = parts.pip_settings.translate(options, {})
    assert settings.environment["UV_DEFAULT_INDEX"] == "https://two.example/simple"
    assert settings.environment["UV_INDEX"] == "https://three.example/simple"
    assert settings.environment["UV_INDEX_STRATEGY"] == "unsafe-best-match"
    assert settings.environment["SSL_CERT_FILE"] == "/etc/ca.pem"
    wanted = ["--find-links", str(tmp_path), "--find-links", "https://wheels.example/"]
    assert settings.arguments() == wanted


def test_uvs_own_settings_win(parts: ModuleType) -> None:
    """A person who configured uv meant it; an older name of a variable counts too."""
    options = {"index-url": "https://pip.example", "find-links": ""}
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        settings = parts.pip_settings.translate(options, {name: "https://uv.example"})
        assert settings.environment == {}
        assert settings.find_links == ()


LOCK = """# header
numpy==2.3.5 \\
    --hash=sha256:aa
nvidia-cublas==13.1 ; sys_platform == 'linux' \\
    --hash=sha256:bb \\
    --hash=sha256:cc
torch==2.13.0 \\
    --hash=sha256:dd
triton==3.7.1 \\
    --hash=sha256:ee
"""


def test_a_cpu_torch_leaves_nvidias_libraries_out(parts: ModuleType) -> None:
    """3 GB that a CPU build does not load."""
    text = parts.torch_build.without_torch(LOCK, keep_cuda=False)
    assert text == (
        "# header\nnumpy==2.3.5 \\\n    --hash=sha256:aa\ntriton==3.7.1 \\\n    --hash=sha256:ee\n"
    )
    assert "nvidia-cublas" in parts.torch_build.without_torch(LOCK, keep_cuda=True)


def test_which_torch_is_installed(parts: ModuleType, tmp_path: Path) -> None:
    """The lock's, PyTorch's CPU build, or the one that lies in the wheel folder."""
    choose, places = parts.torch_build.choose, (str(tmp_path),)
    pinned = parts.torch_build.pinned_version(LOCK)
    assert choose("", pinned, places).in_lock
    assert choose("cpu", pinned, ()).arguments(pinned) == [
        "--torch-backend",
        "cpu",
        "torch==2.13.0",
    ]
    (tmp_path / "torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl").touch()
    found = choose("", pinned, places)
    assert found.arguments(pinned) == ["torch==2.13.0+cpu"]
    assert not found.needs_cuda_packages
    assert choose("lock", pinned, places).in_lock
    with pytest.raises(parts.errors.SetupError, match="SEA_TORCH=gpu is unknown"):
        choose("gpu", pinned, ())


def test_the_lock_serves_all_pythons_and_pins_hashes() -> None:
    """What `make lock` wrote: universal, hashed, and it names its command."""
    text = (ROOT / "requirements" / "cpu.lock").read_text()
    assert "--universal" in text or "make lock" in text
    assert "python_full_version >= '3.12'" in text
    pins = [line for line in text.splitlines() if "==" in line and not line.startswith(("#", " "))]
    assert all(line.endswith("\\") for line in pins)


def test_python_is_3_11_first(parts: ModuleType) -> None:
    """And what does not run is not a Python."""
    assert parts.pythons.version_of(sys.executable) == sys.version_info[:2]
    assert parts.pythons.version_of("/bin/false") is None
    assert parts.pythons.version_of(parts.pythons.find({})) in parts.pythons.VERSIONS
    with pytest.raises(parts.errors.SetupError, match="SEA_PYTHON=/bin/false"):
        parts.pythons.find({"SEA_PYTHON": "/bin/false"})


@pytest.mark.parametrize(
    ("output", "remedy"),
    [
        ("error sending request for url (https://x/)\n  dns error", "PIP_INDEX_URL"),
        ("NewConnectionError: Failed to establish a new connection", "PIP_INDEX_URL"),
        ("No space left on device (os error 28)", "free 15 GB"),
        ("hash mismatch", "failed; the end of"),
    ],
)
def test_a_failed_installer_says_what_to_do(
    parts: ModuleType, output: str, remedy: str, tmp_path: Path
) -> None:
    """Known causes have a remedy, others show the installer's words."""
    assert remedy in str(parts.errors.explain("Installing", output, tmp_path / "log"))


def test_too_little_disk_is_told_before_anything_is_installed(
    parts: ModuleType, tmp_path: Path
) -> None:
    """15 GB."""
    parts.machine.require_disk(tmp_path, 16 * 10**9)
    with pytest.raises(parts.errors.SetupError, match=r"takes 15 GB .* 3\.0 GB free"):
        parts.machine.require_disk(tmp_path, 3 * 10**9)


def test_a_machine_that_is_too_small_is_told_before_anything_is_installed(
    parts: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It downloaded 7 GB and compiled Kubernetes first."""

    def begun(*_: object, **__: object) -> None:
        raise AssertionError("setting up began")

    monkeypatch.setattr(parts.machine, "ensure_bubblewrap", begun)
    monkeypatch.setattr(parts.main, "_ensure_packages", begun)
    with pytest.raises(parts.errors.SetupError, match=r"needs 1e\+06 GiB of memory and .* in all"):
        parts.main.setup(parts.progress.Progress(None), force=False, memory_gib=1e6)
    parts.machine.require_memory(14, 16 * 2**30)


def test_the_stamp_tells_what_changed(parts: ModuleType, tmp_path: Path) -> None:
    """A new entry point costs a second, a new lock a sync."""
    (tmp_path / "a").write_text("1")
    stamp = parts.stamp.wanted(tmp_path, ["a"], torch="")
    environment = tmp_path / ".venv"
    (environment / "bin").mkdir(parents=True)
    assert parts.stamp.changes(environment, stamp) == set(stamp)
    (environment / "bin" / "python").touch()
    parts.stamp.write(environment, stamp)
    assert parts.stamp.changes(environment, stamp) == set()
    (tmp_path / "a").write_text("2")
    later = parts.stamp.wanted(tmp_path, ["a"], torch="")
    assert parts.stamp.changes(environment, later) == {"a"}


def test_an_installer_is_shown_and_its_failure_explained(
    parts: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A real program that fails like uv without a network."""
    progress = parts.progress.Progress(tmp_path / "tools" / "setup.log")
    progress.say("Begins")
    assert "Begins" in capsys.readouterr().out
    command = ["sh", "-c", "echo earlier; echo 'tcp connect error' >&2; exit 2"]
    with pytest.raises(parts.errors.SetupError, match="cannot be reached"):
        progress.run("Installing", command, {"PATH": "/usr/bin:/bin"}, 120.0)
    progress.run("Installing", ["true"], {"PATH": "/usr/bin:/bin"}, 120.0)


def test_a_checkout_in_a_folder_with_blanks_runs_its_own_python(tmp_path: Path) -> None:
    """`make` hands a recipe to the shell, which cuts a path at each blank."""
    checkout = tmp_path / "my clones"
    (checkout / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", checkout)
    (checkout / ".venv" / "bin" / "python").symlink_to(shutil.which("echo") or "/bin/echo")
    done = subprocess.run(
        ["make", "-s", "down"],
        cwd=checkout,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.split() == ["-m", "sea_devcluster", "down", "--name", "demo"]


def test_a_cluster_of_ones_own_needs_neither_sandbox_nor_control_plane(
    parts: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`make demo CLUSTER=kubeconfig` built Kubernetes for half an hour first, for nothing."""
    done: list[str] = []
    for owner, name in (
        (parts.machine, "ensure_bubblewrap"),
        (parts.main, "_ensure_packages"),
        (parts.main, "_ensure_control_plane"),
    ):
        monkeypatch.setattr(owner, name, lambda *_, what=name, **__: done.append(what))
    parts.main.setup(parts.progress.Progress(None), force=False, devcluster=False)
    assert done == ["_ensure_packages"]


@pytest.mark.parametrize(("cluster", "packages_only"), [("kubeconfig", True), ("", False)])
def test_make_sets_up_what_the_demos_cluster_needs(cluster: str, packages_only: bool) -> None:
    command = ["make", "-n", "demo", f"CLUSTER={cluster}"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    assert ("--packages-only" in done.stdout) == packages_only
    assert f"--memory-gib {main.NEEDS.memory_gib:g}\n" in done.stdout


def test_make_setup_alone_asks_for_no_memory() -> None:
    """Its packages are of use on a small machine too."""
    command = ["make", "-n", "setup"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    assert "--memory-gib" not in done.stdout
