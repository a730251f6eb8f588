"""The node agent's configuration: a JSON file that the devcluster writes, read at the start."""

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sea_devcluster.errors import DevclusterError
from sea_devcluster.logfiles import MAX_BYTES


class ConfigError(DevclusterError):
    """The agent's own configuration can't be used."""


class ImageConfig(BaseModel):
    """What an image reference means here: programs of the host, no files of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: list[str] = []
    """Folders prepended to PATH."""
    env: dict[str, str] = {}
    """Environment of the image; the pod's own takes precedence."""
    mounts: list[str] = []
    """Host paths bound read-only at the same path; needed below /tmp and /run."""
    command: list[str] = []
    """The image's entry point, used where a container has no `command`."""


class NodeConfig(BaseModel):
    """Configuration of one node. Times in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """Name of the devcluster."""
    node_name: str
    """Name of the Node object."""
    kubeconfig: Path
    """Access to the API server, with the right to read Services and all pods."""
    root: Path
    """Folder of all pods' files; used by this agent alone."""
    address: str
    """The node's address, in 127.0.0.0/8."""
    kubelet_port: int
    """Port of the kubelet API on `address`; 0 picks a free one."""
    pod_subnet: str
    """`127.A.B.0/24`: every pod gets its own address from it."""
    images: dict[str, ImageConfig] = {}
    """Programs by image reference."""
    hosts: dict[str, str] = {}
    """Additional names in every pod's /etc/hosts."""
    api_host: str
    """KUBERNETES_SERVICE_HOST of the pods, and the address of `kubernetes.default.svc`."""
    api_port: int
    """KUBERNETES_SERVICE_PORT of the pods."""
    ca_file: Path
    """The cluster's CA: client certificates for the kubelet API are checked against it."""
    cert_file: Path
    """Serving certificate of the kubelet API."""
    key_file: Path
    """Its key."""
    require_client_certificate: bool = False
    """If True, only clients with a certificate of the cluster's CA may read logs."""
    resources: dict[str, str] = {"cpu": "8", "memory": "16Gi", "pods": "110"}
    """Capacity and allocatable of the Node."""
    labels: dict[str, str] = {}
    """Additional labels of the Node."""
    taints: list[dict[str, str]] = []
    """Taints of the Node."""
    allow_host_path: list[str] = []
    """Host folders that hostPath volumes may use; empty refuses hostPath."""
    memory_root: Path = Path("/dev/shm")  # noqa: S108 - a tmpfs is what medium Memory asks for
    """A tmpfs, in which the folder for volumes of medium Memory is created."""
    crash_backoff_start: float = Field(1.0, gt=0)
    """Wait before the second restart; doubles with each further one."""
    crash_backoff_limit: float = Field(30.0, gt=0)
    """The longest wait before a restart."""
    crash_backoff_reset: float = Field(60.0, gt=0)
    """A container that ran this long restarts without back-off."""
    retry_seconds: float = Field(1.0, gt=0)
    """How often a missing Secret or ConfigMap is looked up again."""
    refresh_seconds: float = Field(60.0, gt=0)
    """How often volumes made from Secrets, ConfigMaps and tokens are refreshed."""
    heartbeat_seconds: float = Field(10.0, gt=0)
    """How often the node's Lease and status are renewed."""
    stop_grace_seconds: float = Field(3.0, ge=0)
    """Grace period of all containers when the agent itself is stopped."""
    delete_node_on_stop: bool = False
    """Delete the Node object on exit instead of marking it NotReady."""
    log_bytes: int = Field(16 << 20, ge=1 << 12)
    """Maximum size of one container run's logs on disk."""
    component_logs: Path | None = None
    """Folder with the logs of the cluster's daemons, which this agent keeps short."""
    component_log_bytes: int = Field(MAX_BYTES, ge=1 << 12)
    """Size in bytes at which a daemon's log is truncated."""

    @property
    def memory_folder(self) -> Path:
        """This node's own folder on the tmpfs; two devclusters never share one."""
        return self.memory_root / f"sea-{self.name}-{self.node_name}"


def load(path: Path) -> NodeConfig:
    """Read the agent's configuration; ConfigError says which field of which file is wrong."""
    try:
        return NodeConfig.model_validate(json.loads(path.read_text()))
    except (OSError, json.JSONDecodeError, ValidationError) as error:
        message = f"The node agent's configuration {path} can't be used: {error}"
        raise ConfigError(message) from error
