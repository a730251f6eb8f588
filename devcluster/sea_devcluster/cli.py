"""`python -m sea_devcluster up|down|status|logs`: a Kubernetes cluster on this machine."""

import argparse
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from shlex import quote

from sea_devcluster import interrupts, logfiles, preflight, records, status
from sea_devcluster.build import find_or_build
from sea_devcluster.cluster import DEFAULT_NAME, DevCluster, Options, checkout
from sea_devcluster.errors import DevclusterError, refused_by_system
from sea_devcluster.paths import state_root
from sea_devcluster.preflight import Needs
from sea_devcluster.records import Capacity

NODE_GIB = 0.1
"""Memory of one additional node's agent, without pods."""
_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    arguments = parser().parse_args(argv)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    level = logging.DEBUG if arguments.verbose else logging.INFO
    logging.getLogger("sea_devcluster").setLevel(level)
    command: Callable[[argparse.Namespace], int] = arguments.run
    interrupts.raise_on_signals()
    try:
        return command(arguments)
    except DevclusterError as error:
        _say(str(error))
        return 1
    except OSError as error:
        _say(refused_by_system(error))
        return 1
    except KeyboardInterrupt:
        _say("Interrupted.")
        return _INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """The command line."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--name", default=DEFAULT_NAME, help="cluster (default: %(default)s)")
    common.add_argument("--state-dir", type=Path, help="parent of the clusters' state folders")
    common.add_argument("-v", "--verbose", action="store_true", help="log at debug level")
    root = argparse.ArgumentParser(prog="python -m sea_devcluster", description=__doc__)
    commands = root.add_subparsers(required=True, metavar="up|down|status|logs")
    _add_up(commands.add_parser("up", parents=[common], help="start what is not running"))
    down = commands.add_parser(
        "down", parents=[common], help="stop everything and remove its state"
    )
    down.add_argument("--all", action="store_true", help="all clusters of this checkout")
    down.add_argument("--keep-logs", action="store_true", help="leave the logs")
    down.set_defaults(run=_down)
    show = commands.add_parser("status", parents=[common], help="components, memory, addresses")
    show.add_argument("--json", action="store_true", help="one JSON object")
    show.set_defaults(run=_status)
    logs = commands.add_parser("logs", parents=[common], help="log of a component")
    logs.add_argument("component", help="such as kube-apiserver, s3 or node-1")
    logs.add_argument("-f", "--follow", action="store_true", help="follow until Ctrl-C")
    logs.add_argument("-n", "--lines", type=_count, default=100, help="how many (default: 100)")
    logs.set_defaults(run=_logs)
    return root


def _add_up(up: argparse.ArgumentParser) -> None:
    up.add_argument("--nodes", type=int, default=1, help="how many nodes (default: 1)")
    up.add_argument("--cpu", help="CPUs that each node offers (default: all)")
    up.add_argument("--memory", help="memory that each node offers, such as 16Gi (default: all)")
    up.add_argument("--gpus", type=int, help="GPUs that each node offers (default: all)")
    up.set_defaults(run=_up)


def _cluster(arguments: argparse.Namespace, options: Options | None = None) -> DevCluster:
    return DevCluster(arguments.name, state_root=arguments.state_dir, options=options)


def _up(arguments: argparse.Namespace) -> int:
    whole = Capacity.of_machine()
    capacity = replace(
        whole,
        cpu=arguments.cpu or whole.cpu,
        memory=arguments.memory or whole.memory,
        gpus=whole.gpus if arguments.gpus is None else arguments.gpus,
    )
    cluster = _cluster(arguments, Options(nodes=arguments.nodes, capacity=capacity))
    record = cluster.record
    asked = (arguments.cpu, arguments.memory, arguments.gpus) != (None, None, None)
    if record and asked and record.capacity != capacity:
        _say(f"Devcluster {cluster.name} exists already: its nodes keep the size that they have.")
    more = max(0, arguments.nodes - (record.nodes if record else 1))
    needs = Needs(
        memory_gib=Needs.memory_gib + NODE_GIB * more, ports=tuple(cluster.silent_ports())
    )
    preflight.require(needs, cluster.folder)
    find_or_build(_say)
    cluster.up()
    _print(_next_steps(cluster, arguments.state_dir))
    return 0


def _next_steps(cluster: DevCluster, state_dir: Path | None) -> str:
    name = "" if cluster.name == DEFAULT_NAME else f" --name {cluster.name}"
    if state_dir is not None:
        name += f" --state-dir {quote(str(state_dir))}"
    return "\n".join(
        [
            f"Devcluster {cluster.name} runs. Kubeconfig: {cluster.kubeconfig}",
            f"S3: {cluster.s3.endpoint} (credentials: {cluster.folder / 's3.json'})",
            "Next:",
            f"  export KUBECONFIG={quote(str(cluster.kubeconfig))}",
            f"  export PATH={quote(str(cluster.plane.kubectl.parent))}:$PATH",
            "  kubectl get nodes",
            f"  {_python()} -m sea_devcluster status{name}",
            f"  {_python()} -m sea_devcluster down{name}",
        ]
    )


def _down(arguments: argparse.Namespace) -> int:
    root = arguments.state_dir or state_root()
    names = [arguments.name]
    if arguments.all:
        ours = str(checkout())
        names = [one.name for _, one in records.list_clusters(root) if one.checkout == ours]
    for name in names:
        cluster = DevCluster(name, state_root=root)
        existed = cluster.exists
        cluster.down(keep_logs=arguments.keep_logs)
        _print(f"Devcluster {name} is gone." if existed else f"There is no devcluster {name}.")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    cluster = _cluster(arguments)
    rows = status.rows(cluster)
    if arguments.json:
        content = {
            "name": cluster.name,
            "kubeconfig": str(cluster.kubeconfig),
            "components": [asdict(row) for row in rows],
        }
        _print(json.dumps(content))
    else:
        _print(f"{'COMPONENT':<25}{'STATE':<9}{'PID':>8}{'PROCS':>7}{'MB':>7}  ADDRESS")
        for row in rows:
            numbers = f"{row.pid or '-':>8}{row.processes:>7}{row.memory_mb:>7}"
            _print(f"{row.component:<25}{row.state:<9}{numbers}  {row.endpoint}")
        _print(f"Kubeconfig: {cluster.kubeconfig}")
    return 0 if all(row.state == "running" for row in rows) else 1


def _logs(arguments: argparse.Namespace) -> int:
    cluster = _cluster(arguments)
    logs = {path.stem: path for path in sorted((cluster.folder / "logs").glob("*.log"))}
    if arguments.component not in logs:
        raise DevclusterError(
            f"Devcluster {cluster.name} has no log of {arguments.component!r}; there are "
            f"{', '.join(logs) or 'none, since it is not running'}."
        )
    path = logs[arguments.component]
    text, size = logfiles.last_lines(path, arguments.lines)
    try:
        print(text, end="", flush=True)  # noqa: T201  a command's answer
    except BrokenPipeError:  # `logs ... | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if not arguments.follow:
        return 0
    # Without a time-out: following ends with Ctrl-C.
    command = ["tail", "-c", f"+{size + 1}", "-F", str(path)]
    return subprocess.run(command, check=False).returncode


def _count(text: str) -> int:
    """A number of lines."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of lines; use 0, 1, 2, ...")
    return int(text)


def _python() -> str:
    """The interpreter as a person in this folder would type it."""
    executable = Path(sys.executable)
    here = Path.cwd()
    shown = executable.relative_to(here) if executable.is_relative_to(here) else executable
    return quote(str(shown))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201  a command's errors and progress


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201  a command's answer
