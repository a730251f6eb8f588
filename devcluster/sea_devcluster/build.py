"""Builds the control plane from the Go module that pins it, once per `go.sum`.

One `go install` per program, so that progress shows and an interrupted build continues where it
stopped. A finished program is moved into the cache in one step; a lock file lets only one build run
at a time, and a process that waited for it finds the work done.

`python -m sea_devcluster.build` builds what is missing and prints the folder; with `--needs-go` it
only reports, by exit status 0, that a Go toolchain must be installed first.
"""

import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sea_devcluster.binaries import cache_folder, locate, missing, require_module
from sea_devcluster.errors import BinariesError, DevclusterError
from sea_devcluster.locks import exclusive
from sea_devcluster.toolchain import find_go

Progress = Callable[[str], None]
KUBERNETES_VERSION = "v1.36.3"
MIN_FREE_BYTES = 12 * 2**30
"""Go's build cache takes 6 GB, its modules 1.8 GB, the programs 0.4 GB."""
TIMEOUT_SECONDS = 3600.0
"""Per program: the API server took 7 minutes on two busy cores."""
HEARTBEAT_SECONDS = 15.0


@dataclass(frozen=True)
class Package:
    """One program: our name for it, and its Go package."""

    program: str
    path: str

    flags: str = ""
    """Linker flags of its own."""

    @property
    def built_as(self) -> str:
        """File that `go install` writes: the last path element that is not a version."""
        parts = [part for part in self.path.split("/") if part != "v3"]
        return parts[-1]


PACKAGES = (
    Package("etcd", "go.etcd.io/etcd/server/v3"),
    Package("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    Package("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    Package("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
    Package("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
)
HELM_VERSION = "v4.1.4"
HELM = Package(
    "helm",
    "helm.sh/helm/v4/cmd/helm",
    f"-X helm.sh/helm/v4/internal/version.version={HELM_VERSION}",
)
"""Not one of `PACKAGES`: only tests of the chart need it, which build it when they first run."""


def link_flags(version: str = KUBERNETES_VERSION) -> str:
    """Linker flags: no debug tables, and the version that `kubectl version` reports."""
    major, minor = version.lstrip("v").split(".")[:2]
    stamps = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    defines = [f"-X k8s.io/component-base/version.{key}={value}" for key, value in stamps.items()]
    return " ".join(["-s", "-w", *defines])


def find_or_build(progress: Progress | None = None) -> Path:
    """Folder that holds the programs; builds those that are missing, which takes minutes.

    Args:
        progress: Receives a line about each step of a build; logged if None.

    Raises:
        BinariesError: They cannot be built; the message says why.
    """
    folder = locate()
    if folder is None:
        folder = cache_folder()
        build_into(folder, require_module(), progress or logging.getLogger(__name__).info)
    return folder


def find_or_build_helm(progress: Progress | None = None) -> Path:
    """Helm of the pinned module, cached next to the control plane; builds it if it is missing.

    Args:
        progress: Receives a line about each step of a build; logged if None.

    Raises:
        BinariesError: It cannot be built; the message says why.
    """
    folder = cache_folder()
    report = progress or logging.getLogger(__name__).info
    build_into(folder, require_module(), report, packages=(HELM,))
    return folder / HELM.program


def needs_go() -> bool:
    """True if the programs must be built and this machine has no Go that can build them."""
    if locate() is not None:
        return False
    try:
        find_go()
    except BinariesError:
        return True
    return False


def build_into(
    folder: Path, module: Path, progress: Progress, packages: Sequence[Package] = PACKAGES
) -> None:
    """Builds those of `packages` that `folder` lacks.

    Raises:
        BinariesError: No Go, no disk, no network, or the compiler failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    waiting = "Another build of the control plane runs; waiting for it."
    with exclusive(folder / ".lock", lambda: progress(waiting)):
        # Looked up under the lock: the build that was waited for may have made them.
        lacking = missing(folder, [package.program for package in packages])
        wanted = [package for package in packages if package.program in lacking]
        if not wanted:
            return
        go = find_go()
        _require_disk(folder)
        began = time.monotonic()
        names = f"Kubernetes {KUBERNETES_VERSION}" if packages is PACKAGES else wanted[0].program
        progress(f"Building {names} with {go}; once, about 5-10 minutes.")
        for number, package in enumerate(wanted, start=1):
            label = f"[{number}/{len(wanted)}] {package.program}"
            _build_one(go, package, folder, module, BuildProgress(label, began, progress))
        progress(f"Built {len(wanted)} programs in {_elapsed(began)}; they are in {folder}.")


@dataclass(frozen=True)
class BuildProgress:
    """Reports which program is being built and how long the whole build has run."""

    label: str
    began: float
    report: Progress

    def tick(self, note: str) -> None:
        """One progress line."""
        self.report(f"{self.label} {note} ({_elapsed(self.began)})")


def _build_one(
    go: Path, package: Package, folder: Path, module: Path, progress: BuildProgress
) -> None:
    progress.tick("...")
    # Below the cache folder: the rename at the end must stay on one file system.
    scratch = folder / f".build-{os.getpid()}"
    flags = f"{link_flags()} {package.flags}".rstrip()
    command = [str(go), "install", "-trimpath", "-ldflags", flags, package.path]
    environment = {
        **os.environ,
        # Static programs: no C compiler is needed and no libc is linked.
        "CGO_ENABLED": "0",
        "GOBIN": str(scratch),
        "GOFLAGS": "-mod=readonly",
        # Otherwise go would download the toolchain that go.mod names.
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }
    try:
        _run(command, module, environment, progress)
        (scratch / package.built_as).replace(folder / package.program)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _run(
    command: list[str], module: Path, environment: dict[str, str], progress: BuildProgress
) -> None:
    began = time.monotonic()
    process = subprocess.Popen(
        command, cwd=module, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    with process:
        try:
            while True:
                try:
                    output, _ = process.communicate(timeout=HEARTBEAT_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    if time.monotonic() - began > TIMEOUT_SECONDS:
                        raise BinariesError(
                            f"{' '.join(command)} has run for an hour; check the machine's load."
                        ) from None
                    progress.tick("still compiling")
        except BaseException:
            # What go has compiled so far is in its cache: the next build continues from there.
            process.kill()
            raise
    if process.returncode != 0:
        raise BinariesError(explain(output.decode(errors="replace"), command))


def explain(output: str, command: list[str]) -> str:
    """One sentence with the remedy for a failed `go install`."""
    lowered = output.lower()
    tail = "\n".join(output.splitlines()[-8:])
    signs = ("dial tcp", "no such host", "i/o timeout", "connection refused", "tls handshake")
    if any(sign in lowered for sign in signs):
        return (
            "The Go module proxy cannot be reached, so the control plane cannot be built; connect "
            "to the network, set GOPROXY to a proxy that you can reach, or set "
            f"SEA_CONTROLPLANE_BIN to a folder with ready programs. Go said:\n{tail}"
        )
    if "no space left" in lowered:
        return (
            "The disk is full, so the control plane cannot be built; free about 12 GB "
            f"(`go clean -cache` empties Go's build cache). Go said:\n{tail}"
        )
    return f"`{' '.join(command)}` failed; Go said:\n{tail}"


def _require_disk(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < MIN_FREE_BYTES:
        raise BinariesError(
            f"Building the control plane takes about 12 GB and {folder} has "
            f"{free / 2**30:.0f} GB free; free some, or set XDG_CACHE_HOME, GOCACHE and "
            "GOMODCACHE to a larger disk."
        )


def _elapsed(began: float) -> str:
    minutes, seconds = divmod(int(time.monotonic() - began), 60)
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"


def main() -> int:
    """Command line: builds with progress on standard error, prints the folder."""
    try:
        if sys.argv[1:] == ["--needs-go"]:
            return 0 if needs_go() else 1
        folder = find_or_build(lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201
    except DevclusterError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    print(folder)  # noqa: T201
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
