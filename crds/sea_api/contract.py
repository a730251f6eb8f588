"""What operator and pods share: variables, ports, names and labels.

The operator writes these into the objects it creates (`sea_operator`); the programs in the pods
read them at start (`sea_runtime`). `tests/api/test_contract.py` fails on a literal of one of them
anywhere else.
"""

import functools
from enum import StrEnum

from sea_api.v1alpha1.names import GPU, GROUP
from sea_api.v1alpha1.policy import Role

DATA_DIR = "/sea/data"
"""Where a pod's volume is mounted; also its HOME, since the root file system is read-only."""


class Env(StrEnum):
    """Environment variables of a job's pods."""

    JOB = "SEA_JOB"
    """Name of the SEATrainingJob."""
    NAMESPACE = "SEA_NAMESPACE"
    JOB_UID = "SEA_JOB_UID"
    ROLE = "SEA_ROLE"
    """`trainer`, `rollout`, `user` or `coordinator`."""
    TOKEN = "SEA_TOKEN"  # noqa: S105 - a name, not a secret
    """Bearer token of the coordinator's API."""
    COORDINATOR_URL = "SEA_COORDINATOR_URL"
    POD_NAME = "POD_NAME"
    POD_IP = "POD_IP"
    """The address that every server of the pod binds to."""
    DATA_DIR = "SEA_DATA_DIR"
    IMAGE = "SEA_IMAGE"
    """Image of the container, as the pod's template names it."""
    STREAM = "SEA_STREAM"
    """Stream of weight versions that an engine serves: `policy` or `user`."""
    GPUS_PER_POD = "SEA_GPUS_PER_POD"
    MAX_EPISODES = "SEA_MAX_EPISODES"
    """Episodes that an engine plays at one time."""
    ROUTER_REPLAY = "SEA_ROUTER_REPLAY"
    """1: the engine says which experts computed each token, and trajectories carry it."""
    PROCESSES_PER_POD = "SEA_PROCESSES_PER_POD"
    """Training processes per trainer pod."""
    GRACE_SECONDS = "SEA_GRACE_SECONDS"
    """The pod's terminationGracePeriodSeconds."""
    USER_API_KEY = "SEA_USER_API_KEY"
    """Key of an external user model's endpoint."""
    JUDGE_API_KEY = "SEA_JUDGE_API_KEY"
    """Key of a judge's endpoint."""


OPENAI_API_KEY = "OPENAI_API_KEY"
"""Key of a Secret that holds an endpoint's API key."""
S3_ACCESS_KEY = "AWS_ACCESS_KEY_ID"
S3_SECRET_KEY = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 - a name, not a secret
S3_SESSION_TOKEN = "AWS_SESSION_TOKEN"  # noqa: S105 - a name, not a secret
S3_ENDPOINT_URL = "AWS_ENDPOINT_URL"
S3_REGION = "AWS_DEFAULT_REGION"
S3_CA_BUNDLE = "AWS_CA_BUNDLE"
S3_ADDRESSING = "SEA_S3_ADDRESSING"
"""`Path` or `VirtualHost`, as `spec.storage.addressing`."""
CA_DIR = "/etc/sea/ca"
"""Where pods find the certificates of `spec.storage.caBundle`."""

COORDINATOR_PORT = 8080
TRAINER_HEALTH_PORT = 8081
ENGINE_PORT = 8000
WORKER_PORT = 8082
"""Health of the rollout worker next to an engine."""

JOB_LABEL = f"{GROUP}/job"
ROLE_LABEL = f"{GROUP}/role"
HASH_LABEL = f"{GROUP}/template-hash"
TOKEN_ANNOTATION = f"{GROUP}/token-digest"
MADE_BY_ANNOTATION = f"{GROUP}/made-by"
"""On a StatefulSet: `REVISION.HASH`, see `sea_operator/policies/updates.py`."""
RETRY_ANNOTATION = f"{GROUP}/pods-retried"
SECRETS_ANNOTATION = f"{GROUP}/secrets-digest"
PARALLELISM_ANNOTATION = f"{GROUP}/parallelism"
GPU_PRODUCT_LABEL = f"{GPU}.product"
"""Of a node, by NVIDIA's GPU feature discovery, as in `NVIDIA-H100-80GB-HBM3`."""
GPU_MEMORY_LABEL = f"{GPU}.memory"
"""Of a node: MiB of one GPU."""

# The coordinator first: the other roles may fail without it, and lists of pods and problems
# show it before them.
ROLES = (Role.COORDINATOR, Role.TRAINER, Role.ROLLOUT, Role.USER)


SYNTHESIS_API_KEY = "SEA_SYNTHESIS_API_KEY"
"""Key of a synthesis endpoint, in the process that makes the data; see `synthesis_key`."""


def synthesis_key(stage: str) -> str:
    """Variable of the coordinator's pod with the API key of a Synthesis stage's endpoint."""
    # A stage's name is a DNS label: without a dash it is one of a variable.
    return f"{SYNTHESIS_API_KEY}_{stage.upper().replace('-', '_')}"


@functools.cache
def role_label(role: Role) -> str:
    """`trainer`, `rollout`, `user`, `coordinator`."""
    return role.value.lower()


def role_name(job: str, role: Role) -> str:
    """Name of a role's StatefulSet and of its headless Service."""
    return f"{job}-{role_label(role)}"


def pod_name(job: str, role: Role, ordinal: int) -> str:
    """Name of one pod of a role's StatefulSet."""
    return f"{role_name(job, role)}-{ordinal}"


LOG_BYTES = 1 << 18
"""Bytes at the end of a container's log that are kept in the run's folder."""


def log_path(pod: str, container: str, attempt: int, *, failed: bool) -> str:
    """Where the end of a container's log is kept, relative to the run's folder.

    One object per container and attempt of the trainer, and another one for a run that failed: what
    a pod says when it goes must not replace what it said when it broke.
    """
    return f"logs/{pod}/{container}.attempt-{attempt}{'.failed' if failed else ''}.log"


def auth_secret(job: str) -> str:
    """Name of the Secret that holds the job's token."""
    return f"{job}-auth"


def coordinator_url(job: str, namespace: str) -> str:
    """Base URL at which the job's pods reach their coordinator."""
    # Without the cluster's domain, which not every cluster calls cluster.local.
    host = role_name(job, Role.COORDINATOR)
    return f"http://{pod_name(job, Role.COORDINATOR, 0)}.{host}.{namespace}.svc:{COORDINATOR_PORT}"


def selector(job: str) -> str:
    """Label selector of everything that belongs to the job."""
    return f"{JOB_LABEL}={job}"


def selected_by(job: str, role: Role) -> dict[str, str]:
    """Labels that a role's Service and StatefulSet select pods by."""
    return {JOB_LABEL: job, ROLE_LABEL: role_label(role)}


def labels(job: str, role: Role) -> dict[str, str]:
    """Labels of a role's objects; none comes from the job itself."""
    return {**selected_by(job, role), "app.kubernetes.io/managed-by": "sea-operator"}
