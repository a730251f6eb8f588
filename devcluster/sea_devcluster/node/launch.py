"""Prepares one run of a container: environment, volumes, image, command."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .context import NodeContext
from .environment import PodFacts, base_environment, compose, expand, fetch_sources
from .hosts import host_name
from .kube_json import Json
from .sandbox import Mount, Sandbox, SandboxError
from .volumes import PodVolumes, VolumeFolders

DEFAULT_TERMINATION_PATH = "/dev/termination-log"


@dataclass(frozen=True)
class PodSetup:
    """One pod's address, folders and volumes on this node."""

    pod: Json
    facts: PodFacts
    folder: Path
    volumes: PodVolumes
    volume_folders: VolumeFolders

    @property
    def hosts_file(self) -> Path:
        """The pod's /etc/hosts."""
        return self.folder / "hosts"

    def container_folder(self, name: str) -> Path:
        """Logs, PIDs and termination message of one container."""
        return self.folder / "containers" / name


@dataclass(frozen=True)
class Launch:
    """Command line and environment of one run."""

    arguments: list[str]
    environment: dict[str, str]


async def prepare(context: NodeContext, setup: PodSetup, container: Json) -> Launch:
    """Looks everything up and builds the command line.

    Raises:
        UnknownImageError, MissingReferenceError, SandboxError: The container waits with the error's
            sentence and is retried.
    """
    # In this order: the environment decides how the command is expanded, and volumes must exist
    # before the sandbox binds them.
    image = context.image(container["image"])
    base = base_environment(setup.pod, image, context.config)
    lookup = await fetch_sources(setup.pod, container, context.references)
    environment = compose(base, setup.pod, container, setup.facts, lookup)
    volumes = await setup.volumes.prepare(setup.facts)
    command = [*(container.get("command") or image.command), *(container.get("args") or [])]
    if not command:
        message = (
            f"Container {container['name']!r} has no command, and image {container['image']!r} has "
            "no entry point in the devcluster's image map: set `command`."
        )
        raise SandboxError(message)
    sandbox = Sandbox(
        hostname=host_name(setup.pod),
        command=[expand(part, environment) for part in command],
        mounts=volume_mounts(container, volumes),
        hosts_file=setup.hosts_file,
        shm=setup.volume_folders.shm,
        termination_log=_termination_log(setup, container),
        image_mounts=image.mounts,
        # The agent's own folder holds the volumes of all pods.
        hidden=[context.config.root.absolute()],
        working_dir=container.get("workingDir"),
    )
    return Launch(sandbox.arguments(context.bwrap), environment)


def volume_mounts(container: Json, volumes: Mapping[str, Path]) -> list[Mount]:
    """The container's volumeMounts; a missing subPath is created."""
    mounts = []
    for mount in container.get("volumeMounts") or []:
        source = volumes[mount["name"]]
        if mount.get("subPath"):
            source /= mount["subPath"]
            if not source.exists():
                source.mkdir(parents=True)
        mounts.append(Mount(mount["mountPath"], str(source), bool(mount.get("readOnly"))))
    return mounts


def termination_file(setup: PodSetup, container: Json) -> Path:
    """File on the host that is bound to the container's terminationMessagePath."""
    return setup.container_folder(container["name"]) / "termination-message"


def _termination_log(setup: PodSetup, container: Json) -> tuple[Path, str]:
    path = termination_file(setup, container)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Emptied for each run: a restarted container must not report the message of the run before. A
    # bind mount needs the file to exist.
    path.write_bytes(b"")
    # The container may run as any user.
    path.chmod(0o666)
    return path, container.get("terminationMessagePath") or DEFAULT_TERMINATION_PATH
