"""A real process is killed at random moments: resumed, it loses no row and repeats none."""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sea_cli import main
from sea_testing.waiting import HANG_S, wait_for

pytestmark = pytest.mark.component

COUNT = 400
COMMAND = "import sys; from sea_cli import main; sys.exit(main())"
ARGUMENTS = ["synth", "--domain", "shop", "--count", str(COUNT), "--size", "small", "--rounds", "2"]


def test_ctrl_c_is_heard_at_once_and_says_how_to_go_on(tmp_path: Path) -> None:
    """Procedural workers never wait for anything; nobody waits for 100,000 tasks either."""
    many = ["synth", "--domain", "shop", "--count", "100000", "--out", str(tmp_path)]
    # Who runs the tests in the background of a shell hands down an ignored SIGINT.
    code = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {COMMAND}"
    running = subprocess.Popen([sys.executable, "-c", code, *many], stderr=subprocess.PIPE)
    grown(running, tmp_path / ".journal", 100_000)
    running.send_signal(signal.SIGINT)
    _, error = running.communicate(timeout=HANG_S)
    assert running.returncode == 130
    assert error.decode().rstrip().endswith(f"--out {tmp_path} --resume")
    assert not (tmp_path / "rl.jsonl").exists()


def start(out: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *ARGUMENTS, "--out", str(out), "--resume"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def grown(process: "subprocess.Popen[bytes]", journal: Path, size: int) -> None:
    """Waits until the journal has this size, wherever in a line that is, or the process's end."""
    wait_for("the journal to grow", lambda: process.poll() is not None or reached(journal, size))


def reached(journal: Path, size: int) -> bool:
    return journal.exists() and journal.stat().st_size >= size


def kill_beyond(process: "subprocess.Popen[bytes]", journal: Path, size: int) -> None:
    """SIGKILL as soon as the journal has grown to this size."""
    grown(process, journal, size)
    process.kill()
    process.wait(HANG_S)


def test_killed_at_random_moments_it_makes_the_same_rows(tmp_path: Path) -> None:
    assert main([*ARGUMENTS, "--out", str(tmp_path / "whole")]) == 0
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    size = (whole / ".journal").stat().st_size
    rng = random.Random(7)
    for moment in sorted(rng.uniform(0.02, 0.95) for _ in range(4)):
        kill_beyond(start(broken), broken / ".journal", int(moment * size))
        # What a kill in the middle of a write leaves behind.
        with (broken / ".journal").open("ab") as journal:
            journal.write(b'{"event":"item","item":"p0')
    assert start(broken).wait(HANG_S) == 0
    for name in ("rl.jsonl", "sft.jsonl"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes()
    ids = [json.loads(line)["id"] for line in (broken / "rl.jsonl").read_bytes().splitlines()]
    assert len(ids) == len(set(ids)) == COUNT
    assert not list(broken.rglob("*.partial"))
