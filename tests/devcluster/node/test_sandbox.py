"""The bubblewrap command, and commands run inside it, as root and as an ordinary user."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sea_devcluster.node.nsenter import execute
from sea_devcluster.node.process import SandboxProcess
from sea_devcluster.node.sandbox import (
    Mount,
    Sandbox,
    SandboxError,
    find_bwrap,
    folders_to_open,
    mount_arguments,
    resolve,
)
from sea_devcluster.node.volumes import File, write_files

ENV = {"PATH": "/usr/bin:/bin"}


async def run(*command: Any, **fields: Any) -> Any:
    """Exit code and output of a sandbox that runs to its end."""
    output: list[bytes] = []
    arguments = Sandbox(hostname="box", command=command, **fields).arguments(find_bwrap())
    process = await SandboxProcess.start(arguments, ENV, output.append)
    return await process.wait(), b"".join(output).decode()


@pytest.mark.parametrize(
    ("destination", "opened"),
    [("/sea/data", []), ("/run/x/y", []), ("/tmp/x", []), ("/etc/sea/x", ["/etc"]), ("/etc", [])],
)
def test_what_has_to_be_opened(destination: str, opened: Any) -> None:
    assert folders_to_open([destination]) == opened


def test_var_run_is_run_where_it_is_a_link() -> None:
    if Path("/var/run").is_symlink():
        assert resolve("/var/run/secrets/x") == "/run/secrets/x"


def test_a_folder_with_too_many_entries_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sea_devcluster.node.sandbox.MAX_OPENED_ENTRIES", 2)
    with pytest.raises(SandboxError, match="Mount it somewhere else"):
        list(mount_arguments([Mount("/etc/sea/x")]))


async def test_mounts_and_isolation(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("content")
    mounts = [Mount("/sea/a", str(tmp_path)), Mount("/etc/sea/b", str(tmp_path), read_only=True)]
    script = (
        "cat /sea/a/f /etc/sea/b/f; hostname; touch /etc/sea/b/x || touch /sea/a/x; ls /etc | wc -l"
    )
    code, output = await run("sh", "-c", script, mounts=mounts)
    assert code == 0
    assert "contentcontentbox" in output.replace("\n", "")
    assert (tmp_path / "x").exists()
    assert int(output.split()[-1]) > 20


async def test_hidden_folders_are_empty_inside(tmp_path: Path) -> None:
    (tmp_path / "secret").touch()
    assert await run("ls", str(tmp_path), hidden=[tmp_path]) == (0, "")


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("kill -9 $$", 137), ("true", 0)])
async def test_exit_codes(script: str, code: int) -> None:
    assert (await run("sh", "-c", script))[0] == code


async def test_signals_reach_the_main_process_and_nothing_is_left() -> None:
    output, up = [], asyncio.Event()

    def on_output(chunk: Any) -> None:
        output.append(chunk)
        up.set()

    script = "trap 'echo got; exit 5' TERM; sleep 3600 & echo up; wait"
    arguments = Sandbox(hostname="box", command=["sh", "-c", script]).arguments(find_bwrap())
    process = await SandboxProcess.start(arguments, ENV, on_output)
    async with asyncio.timeout(120):
        await up.wait()
        main = process.main_pid()
        assert main is not None
        result = await execute(main, ["sh", "-c", "hostname; exit 4"], ENV, 60)
        slow = await execute(main, ["sleep", "3600"], ENV, 0.2)
        process.terminate()
        assert await process.wait() == 5
    assert (result.exit_code, result.output) == (4, "box\n")
    assert slow.exit_code is None
    assert b"".join(output) == b"up\ngot\n"
    assert not exists(main)


def exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


AS_USER = """
import asyncio, json, os, sys
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
    os.environ["HOME"] = "/"
arguments = json.loads(sys.argv[1])
from sea_devcluster.node.nsenter import execute
from sea_devcluster.node.process import SandboxProcess
async def main():
    process = await SandboxProcess.start(arguments, {"PATH": "/usr/bin:/bin"}, lambda chunk: None)
    result = await execute(await process.appeared(), ["hostname"], {"PATH": "/usr/bin:/bin"}, 60)
    plain = os.system(f"nsenter -t {process.main_pid()} -U --preserve-credentials -i true 2>&-")
    process.kill()
    print(json.dumps([result.exit_code, result.output, plain, await process.wait()]))
asyncio.run(main())
"""


@pytest.mark.filterwarnings("ignore")
def test_an_ordinary_user_can_run_and_enter_a_sandbox(tmp_path: Path) -> None:
    """`plain` is what the workaround in nsenter.py is for: if it becomes 0, delete it."""
    arguments = Sandbox(hostname="box", command=["sleep", "300"]).arguments(find_bwrap())
    code = "import sea_devcluster.node.nsenter, sea_devcluster.node.process\n" + AS_USER
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(arguments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": ""},
    )
    assert done.returncode == 0, done.stderr
    exit_code, output, plain, ended = json.loads(done.stdout)
    assert (exit_code, output, ended) == (0, "box\n", 137)
    assert plain != 0


def test_volume_files_are_brought_up_to_date(tmp_path: Path) -> None:
    write_files(tmp_path, {"a": File(b"1"), "d/b": File(b"2", 0o600)})
    assert (tmp_path / "d" / "b").stat().st_mode & 0o777 == 0o600
    inode = (tmp_path / "a").stat().st_ino
    write_files(tmp_path, {"a": File(b"1"), "c": File(b"3")})
    assert (tmp_path / "a").stat().st_ino == inode
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["a", "c"]
