"""Waiting for components: long, with progress, and not for a component that has ended."""

import itertools
import logging
import sys
from pathlib import Path

import pytest

from sea_devcluster.controlplane import ControlPlane
from sea_devcluster.errors import StartError
from sea_devcluster.waiting import NOTE_SECONDS, START_TIMEOUT_SECONDS, wait_until

# Answers /readyz once, as etcd would, and ends.
ETCD = """
import http.server, sys, urllib.parse
prefix = "--listen-client-urls="
url = next(a.removeprefix(prefix) for a in sys.argv if a.startswith(prefix))
class Once(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
where = urllib.parse.urlsplit(url)
http.server.HTTPServer((where.hostname, where.port), Once).handle_request()
"""


def test_the_time_out_is_minutes_and_the_wait_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A busy machine needs more than a minute, and a person wants to know what happens."""
    assert START_TIMEOUT_SECONDS >= 300
    ticks = itertools.count()
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(StartError, match="the moon, then gave up"),
    ):
        wait_until(
            lambda: False,
            what="the moon",
            timeout=3 * NOTE_SECONDS,
            clock=lambda: float(next(ticks)),
            pause=lambda _: None,
        )
    assert "Still waiting for the moon: 15 s of 45 s." in caplog.text
    assert "30 s of 45 s" in caplog.text


def test_a_component_is_not_waited_for_when_one_that_it_needs_has_ended(tmp_path: Path) -> None:
    """The API server alone keeps running without etcd."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    programs = {"etcd": ETCD, "kube-apiserver": "import time; time.sleep(600)"}
    for name, text in programs.items():
        (binaries / name).write_text(f"#!{sys.executable}\n{text}")
        (binaries / name).chmod(0o755)
    plane = ControlPlane(
        tmp_path / "plane", components=("etcd", "kube-apiserver"), binaries=binaries
    )
    with pytest.raises(StartError, match="etcd ended while starting"):
        plane.start()
    assert not any(daemon.alive() for daemon in plane.daemons.values())


def test_the_end_of_the_log_is_shown_once(tmp_path: Path) -> None:
    """Twice fifteen lines would hide the sentence."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    (binaries / "etcd").write_text(f"#!{sys.executable}\nraise SystemExit('no quorum today')")
    (binaries / "etcd").chmod(0o755)
    plane = ControlPlane(tmp_path / "plane", components=("etcd",), binaries=binaries)
    with pytest.raises(StartError) as told:
        plane.start()
    assert str(told.value).count("no quorum today") == 1
