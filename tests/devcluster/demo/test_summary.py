"""What the demo tells to type next can be typed."""

import shlex
from pathlib import Path

from sea_devcluster.demo.summary import commands
from sea_devcluster.demo.target import ObjectServer, Target


def test_commands_survive_blanks_in_paths() -> None:
    server = ObjectServer("http://s3", "http://s3", "a", "b")
    target = Target(Path("/home/a b/kubeconfig"), "/home/a b/bin/kubectl", server)
    first, second, *_ = commands(target, "tiny", "sea-demo")
    assert shlex.split(first) == ["export", "KUBECONFIG=/home/a b/kubeconfig"]
    assert shlex.split(second) == ["export", "PATH=/home/a b/bin:$PATH"]
