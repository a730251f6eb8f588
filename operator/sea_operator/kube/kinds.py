"""Where each kind that the operator touches lives in the API."""

from dataclasses import dataclass
from urllib.parse import quote

from sea_api.v1alpha1.job import GROUP, KIND, PLURAL, VERSION


@dataclass(frozen=True)
class Kind:
    """A kind and its REST path."""

    api_version: str
    name: str
    plural: str

    @property
    def group(self) -> str:
        """API group, empty for the core group."""
        return self.api_version.rpartition("/")[0]

    def path(self, namespace: str | None, name: str | None = None, sub: str | None = None) -> str:
        """REST path of a collection, an object or a subresource."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"
        scope = ["namespaces", namespace] if namespace else []
        parts = [*scope, self.plural, *(part for part in (name, sub) if part)]
        return "/".join([root, *(quote(part, safe="") for part in parts)])


JOB = Kind(f"{GROUP}/{VERSION}", KIND, PLURAL)
STATEFUL_SET = Kind("apps/v1", "StatefulSet", "statefulsets")
SERVICE = Kind("v1", "Service", "services")
SECRET = Kind("v1", "Secret", "secrets")
POD = Kind("v1", "Pod", "pods")
NODE = Kind("v1", "Node", "nodes")
EVENT = Kind("v1", "Event", "events")
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")
