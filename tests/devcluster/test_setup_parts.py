"""`make setup`: its pure parts, imported from `scripts/` as the program itself does."""

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

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


@pytest.mark.parametrize(
    ("own", "seconds"), [({}, "1800"), ({"UV_COMPILE_BYTECODE_TIMEOUT": "5"}, "5")]
)
def test_a_busy_machine_has_time_to_compile(
    parts: ModuleType, monkeypatch: pytest.MonkeyPatch, own: dict[str, str], seconds: str
) -> None:
    """uv's own minute for a file ended setups on machines with other work; the user's wins."""
    monkeypatch.delenv("UV_COMPILE_BYTECODE_TIMEOUT", raising=False)
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    tools = parts.main.Tools(ROOT, SimpleNamespace())
    assert tools.environment["UV_COMPILE_BYTECODE_TIMEOUT"] == seconds


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
    assert parts.pip_settings.uv_variables(options, {}) == {
        "UV_DEFAULT_INDEX": "https://two.example/simple",
        "UV_INDEX": "https://three.example/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "SSL_CERT_FILE": "/etc/ca.pem",
        "UV_FIND_LINKS": f"{tmp_path},https://wheels.example/",
    }


def test_uvs_own_settings_win(parts: ModuleType) -> None:
    """A person who configured uv meant it."""
    options = {"index-url": "https://pip.example", "find-links": ""}
    environ = {"UV_DEFAULT_INDEX": "https://uv.example"}
    assert parts.pip_settings.uv_variables(options, environ) == {}


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
    text = parts.packages.without_torch(LOCK, keep_cuda=False)
    assert text == (
        "# header\nnumpy==2.3.5 \\\n    --hash=sha256:aa\ntriton==3.7.1 \\\n    --hash=sha256:ee\n"
    )
    assert "nvidia-cublas" in parts.packages.without_torch(LOCK, keep_cuda=True)


def test_which_torch_is_installed(parts: ModuleType, tmp_path: Path) -> None:
    """The lock's, PyTorch's CPU build, or the one in the wheel folder."""
    choose, links = parts.packages.torch_arguments, f"/no/such,{tmp_path}"
    assert choose("", LOCK, links) == []
    assert choose("cpu", LOCK, "") == ["--torch-backend", "cpu", "torch==2.13.0"]
    (tmp_path / "torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl").touch()
    assert choose("", LOCK, links) == ["torch==2.13.0+cpu"]
    assert choose("lock", LOCK, links) == []
    with pytest.raises(parts.console.SetupError, match="SEA_TORCH=gpu is unknown"):
        choose("gpu", LOCK, "")


def test_the_lock_serves_all_pythons_and_pins_hashes() -> None:
    """What `make lock` wrote: universal, hashed, and it names its command."""
    text = (ROOT / "requirements" / "cpu.lock").read_text()
    assert "--universal" in text or "make lock" in text
    assert "python_full_version >= '3.12'" in text
    pins = [line for line in text.splitlines() if "==" in line and not line.startswith(("#", " "))]
    assert all(line.endswith("\\") for line in pins)


def _fake_uv(tools: Any, version: str) -> None:
    """A `uv` that knows one interpreter."""
    script = f"case {version} in $last*) echo {version};; *) exit 2;; esac"
    path = Path(tools.uv)
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\nfor last; do :; done\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(("version", "request_"), [("3.12.4", "3.12"), ("3.13.0", "3.13")])
def test_python_is_3_11_or_the_next(
    parts: ModuleType, tmp_path: Path, version: str, request_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEA_PYTHON", raising=False)
    tools = parts.tools.Tools(tmp_path, parts.console.Console())
    _fake_uv(tools, version)
    assert tools.find_python() == (request_, version)


@pytest.mark.parametrize("asked", [None, "3.9"])
def test_a_python_that_is_too_old_is_refused(
    parts: ModuleType, tmp_path: Path, asked: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the way to name another."""
    monkeypatch.delenv("SEA_PYTHON", raising=False)
    if asked:
        monkeypatch.setenv("SEA_PYTHON", asked)
    tools = parts.tools.Tools(tmp_path, parts.console.Console())
    _fake_uv(tools, "3.9.1")
    with pytest.raises(parts.console.SetupError, match="SEA_PYTHON"):
        tools.find_python()


def test_too_little_disk_is_reported_before_anything_is_installed(
    parts: ModuleType, tmp_path: Path
) -> None:
    """15 GB."""
    parts.packages.require_disk(tmp_path, 16 * 10**9)
    with pytest.raises(parts.console.SetupError, match=r"takes 15 GB .* 3\.0 GB free"):
        parts.packages.require_disk(tmp_path, 3 * 10**9)


def test_a_machine_that_is_too_small_is_reported_before_anything_is_installed(
    parts: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: it downloaded 7 GB and compiled Kubernetes first."""

    def begun(*_: object, **__: object) -> None:
        raise AssertionError("setting up began")

    monkeypatch.setattr(parts.main, "ensure_bubblewrap", begun)
    monkeypatch.setattr(parts.packages, "ensure", begun)
    with pytest.raises(parts.console.SetupError, match=r"needs 1e\+06 GiB of memory and .* in all"):
        parts.main.setup(None, parts.console.Console(), memory_gib=1e6)
    parts.main.require_memory(14, 16 * 2**30)


def test_an_environment_is_left_alone_until_something_changes(
    parts: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new entry point costs a second, a new lock a sync."""
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "cpu.lock").write_text(LOCK)
    (tmp_path / "pyproject.toml").write_text("")
    python = tmp_path / ".venv" / "bin" / "python"
    done: list[str] = []
    tools = SimpleNamespace(
        ensure_uv=lambda: None, pip=lambda what, *_: done.append(what), environment={}
    )

    def install_lock(*_: object) -> None:
        python.parent.mkdir(parents=True, exist_ok=True)
        python.touch()
        done.append("lock")

    monkeypatch.setattr(parts.packages, "_install_lock", install_lock)
    monkeypatch.setattr(parts.packages, "require_disk", lambda *_: None)

    def ensured() -> list[str]:
        done.clear()
        parts.packages.ensure(tmp_path, tools, parts.console.Console())
        return list(done)

    assert ensured() == ["lock", "Installing sea-operator"]
    assert ensured() == []
    (tmp_path / "pyproject.toml").write_text("[project]")
    assert ensured() == ["Installing sea-operator"]
    (tmp_path / "requirements" / "cpu.lock").write_text(LOCK + "x==1\n")
    assert ensured() == ["lock", "Installing sea-operator"]


def test_an_installer_that_fails_is_a_sentence_with_the_remedies(
    parts: ModuleType, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its own words are on the terminal before it."""
    console, environment = parts.console.Console(), {"PATH": "/usr/bin:/bin"}
    console.say("Begins")
    with pytest.raises(parts.console.SetupError, match=r"failed, see above\. .*PIP_INDEX_URL"):
        console.run("Installing", ["sh", "-c", "echo no network; exit 2"], environment)
    shown = capfd.readouterr().out
    assert "Begins" in shown
    assert "no network" in shown
    console.run("Installing", ["true"], environment)


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
        (parts.main, "ensure_bubblewrap"),
        (parts.packages, "ensure"),
        (parts.main, "ensure_control_plane"),
    ):
        monkeypatch.setattr(owner, name, lambda *_, what=name, **__: done.append(what))
    parts.main.setup(None, parts.console.Console(), devcluster=False)
    assert done == ["ensure"]


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
