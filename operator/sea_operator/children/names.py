"""Names of a job's children, labels to find them by, and the one address that pods must know."""

from sea_api.v1alpha1.policy import Role

JOB_LABEL = "sea-operator.io/job"
ROLE_LABEL = "sea-operator.io/role"
HASH_LABEL = "sea-operator.io/template-hash"
TOKEN_ANNOTATION = "sea-operator.io/token-digest"  # noqa: S105 - a name, not a secret
KUEUE_LABEL = "kueue.x-k8s.io/queue-name"

COORDINATOR_PORT = 8080
HEALTH_PORT = 8081
ENGINE_PORT = 8000
WORKER_PORT = 8082

ROLES = (Role.COORDINATOR, Role.TRAINER, Role.ROLLOUT, Role.USER)


def role_label(role: Role) -> str:
    """`trainer`, `rollout`, `user`, `coordinator`."""
    return role.value.lower()


def role_name(job: str, role: Role) -> str:
    """Name of a role's StatefulSet and of its headless Service."""
    return f"{job}-{role_label(role)}"


def auth_secret(job: str) -> str:
    """Name of the Secret that holds the job's token."""
    return f"{job}-auth"


def coordinator_url(job: str, namespace: str) -> str:
    """Where the job's pods find their coordinator."""
    host = role_name(job, Role.COORDINATOR)
    return f"http://{host}-0.{host}.{namespace}.svc:{COORDINATOR_PORT}"


def selector(job: str) -> str:
    """Label selector of everything that belongs to the job."""
    return f"{JOB_LABEL}={job}"


def selected_by(job: str, role: Role) -> dict[str, str]:
    """Labels that a role's Service and StatefulSet select pods by."""
    return {JOB_LABEL: job, ROLE_LABEL: role_label(role)}


def labels(job: str, role: Role) -> dict[str, str]:
    """Labels of a role's objects; none is copied from the job."""
    return {**selected_by(job, role), "app.kubernetes.io/managed-by": "sea-operator"}
