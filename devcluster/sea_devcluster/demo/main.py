"""`make demo` from start to end: checks, cluster, the run, and a clean shutdown."""

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from sea_devcluster import interrupts, preflight, records
from sea_devcluster.cluster import DevCluster
from sea_devcluster.cluster import Options as ClusterOptions
from sea_devcluster.demo import job
from sea_devcluster.demo.memory import MemorySampler, Usage
from sea_devcluster.demo.options import Options
from sea_devcluster.demo.report import RunResult
from sea_devcluster.demo.run import run, step
from sea_devcluster.demo.target import devcluster_target, existing_cluster
from sea_devcluster.errors import DemoError, DevclusterError, refused_by_system
from sea_devcluster.locks import exclusive
from sea_devcluster.paths import private_folder, state_root
from sea_devcluster.records import Capacity

NEEDS = preflight.Needs(memory_gib=14, disk_gib=5)
OVERCOMMITTED = Capacity(cpu="8", memory="14Gi")
"""The pods of the demo wait for each other most of the time and share the cores."""


@dataclass(frozen=True)
class Finished:
    """A demo that ran to completion."""

    result: RunResult
    memory: Usage


def demo(options: Options, *, measure_memory: bool = False) -> Finished | None:
    """Runs everything; None, after one sentence on the console, if it failed."""
    console = Console(highlight=False, force_terminal=False if options.plain else None)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    interrupts.raise_on_signals()
    try:
        return _run(options, console, measure_memory=measure_memory)
    except DevclusterError as error:
        console.print(f"[red]✗[/] {escape(str(error))}", soft_wrap=True)
    except OSError as error:
        console.print(f"[red]✗[/] {escape(refused_by_system(error))}", soft_wrap=True)
    except KeyboardInterrupt:
        console.print("\nStopped.")
    return None


def _run(options: Options, console: Console, *, measure_memory: bool) -> Finished:
    started = time.monotonic()
    job.require_data(job.read(options.job), options.data)
    require_folder(options.out)
    if options.cluster == "kubeconfig":
        return Finished(run(options, existing_cluster(), console, started), Usage())
    records.require_name(options.name)
    with exclusive_name(options.name), _devcluster(options, console) as cluster:
        roots = _pids(cluster) if measure_memory else []
        with MemorySampler(lambda: roots) as sampler:
            result = run(options, devcluster_target(cluster), console, started)
        return Finished(result, sampler.peak)


def require_folder(out: Path) -> None:
    """Creates the folder for the results now rather than after minutes of training.

    Raises:
        DemoError: It can't be created.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DemoError(
            f"The folder {out} can't be made ({error.strerror}); name another with --out."
        ) from error


@contextmanager
def exclusive_name(name: str) -> Iterator[None]:
    """Allows one demo per name at a time: a second would stop the first one's devcluster.

    Raises:
        DemoError: Another one runs.
    """

    def refuse() -> None:
        raise DemoError(
            f"Another `make demo` runs with the devcluster {name}; wait until it ends, or give "
            f"this one its own: `make demo DEMO_ARGS='--name {name}-2 --out out/{name}-2'`."
        )

    lock = private_folder(state_root()) / f".{name}.demo.lock"
    with exclusive(lock, refuse):
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


@contextmanager
def _devcluster(options: Options, console: Console) -> Iterator[DevCluster]:
    """A new cluster; stopped on any failure, and at the end if the options say so."""
    cluster = DevCluster(options.name, options=ClusterOptions(capacity=OVERCOMMITTED))
    if cluster.exists:
        with step(console, f"Stopping the devcluster {options.name} of an earlier run"):
            cluster.down()
    preflight.require(NEEDS)
    finished = False
    try:
        with step(console, "Starting a Kubernetes control plane, an S3 server and a node"):
            cluster.up()
        yield cluster
        finished = True
    finally:
        if options.down or not finished:
            with step(console, "Stopping the devcluster"):
                cluster.down(keep_logs=not finished)
            if not finished and (cluster.folder / "logs").is_dir():
                console.print(f"Its logs are kept in {cluster.folder / 'logs'}.", soft_wrap=True)


def _pids(cluster: DevCluster) -> Iterable[int]:
    """PIDs of the cluster's own processes; pods are children of the node's agent."""
    return [process.pid for daemon in cluster.daemons() if (process := daemon.process) is not None]
