"""What the node refuses, and that it doesn't refuse what our pods use."""

from typing import Any

import pytest

from sea_devcluster.node.admission import not_started, refusals


def pod(container: Any = None, **spec: Any) -> Any:
    one = {"name": "c", "image": "i", **(container or {})}
    return {"metadata": {"name": "p"}, "spec": {"containers": [one], **spec}}


def volume(**body: Any) -> Any:
    return pod(volumes=[{"name": "v", **body}])


@pytest.mark.parametrize(
    ("refused", "field"),
    [
        (pod(hostNetwork=True), "spec.hostNetwork"),
        (pod(hostPID=True), "spec.hostPID"),
        (pod(shareProcessNamespace=True), "spec.shareProcessNamespace"),
        (pod(runtimeClassName="gvisor"), "spec.runtimeClassName"),
        (pod({"lifecycle": {"preStop": {}}}), "spec.containers[0].lifecycle"),
        (pod({"securityContext": {"privileged": True}}), "securityContext.privileged"),
        (pod({"ports": [{"hostPort": 80}]}), "ports.hostPort"),
        (pod({"tty": True}), "spec.containers[0].tty"),
        (pod({"livenessProbe": {"grpc": {"port": 1}}}), "livenessProbe.grpc"),
        (pod({"volumeMounts": [{"name": "v", "subPathExpr": "$(A)"}]}), "subPathExpr"),
        (pod({"volumeMounts": [{"name": "v", "subPath": "../x"}]}), "leaves the volume"),
        (pod({"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {}}}]}), "resourceFieldRef"),
        (volume(persistentVolumeClaim={"claimName": "c"}), "spec.volumes[0].persistentVolumeClaim"),
        (volume(nfs={}), "spec.volumes[0].nfs"),
        (volume(emptyDir={"sizeLimit": "1Gi"}), "spec.volumes[0].emptyDir.sizeLimit"),
        (volume(hostPath={"path": "/srv/a"}), "hostPath /srv/a isn't allowed"),
        (volume(projected={"sources": [{"clusterTrustBundle": {}}]}), "clusterTrustBundle"),
    ],
)
def test_refused_with_the_fields_name(refused: Any, field: str) -> None:
    sentences = refusals(refused)
    assert len(sentences) == 1
    assert field in sentences[0]
    assert sentences[0].endswith((".", "(allowed: none)."))


def test_accepted() -> None:
    container = {
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "resources": {"limits": {"memory": "1Gi"}},
        "volumeMounts": [{"name": "v", "mountPath": "/sea", "subPath": "a/b"}],
        "ports": [{"containerPort": 80}],
        "startupProbe": {"httpGet": {"port": 80}},
        "stdin": False,
    }
    volumes = [
        {"name": "v", "emptyDir": {"medium": "Memory"}},
        {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
    ]
    accepted = pod(container, volumes=volumes, hostNetwork=False, dnsPolicy="ClusterFirst")
    assert refusals(accepted) == []


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/srv/data/x", True), ("/srv/database", False), ("/srv/data/../x", False)],
)
def test_host_paths_below_what_is_allowed(path: str, allowed: bool) -> None:
    assert (refusals(volume(hostPath={"path": path}), ["/srv/data"]) == []) is allowed


def test_an_added_container_is_answered_and_no_reason_to_refuse_the_pod() -> None:
    """`kubectl debug` adds it to a pod that runs."""
    debugged = pod(ephemeralContainers=[{"name": "debugger"}])
    assert refusals(debugged) == []
    assert "'debugger' isn't started" in not_started(debugged)[0]
    assert not_started(pod()) == []
