"""Pods that run, on a real control plane: programs, environment, volumes, names."""

from typing import Any

import pytest

pytestmark = pytest.mark.cluster


def test_a_pod_runs_and_completes(namespace: Any, helpers: Any) -> None:
    namespace.run("once", helpers.shell("echo hello; exit 3"), restartPolicy="Never")
    pod = namespace.until("pods", "once", lambda one: one["status"]["phase"] == "Failed")
    ended = helpers.container_status(pod)["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (3, "Error")
    assert namespace.logs("once") == "hello\n"
    assert pod["status"]["podIP"].startswith("127.")


def test_the_sandbox_is_closed(namespace: Any, helpers: Any) -> None:
    script = """
    hostname; echo pid $$; ls / | grep -c usr
    touch /usr/x 2>/dev/null && echo usr-writable
    touch /tmp/x /run/x /dev/shm/x && echo scratch
    ls -d /proc/[0-9]* | wc -l
    """
    namespace.run("closed", helpers.shell(script), restartPolicy="Never")
    namespace.until("pods", "closed", lambda one: one["status"]["phase"] == "Succeeded")
    lines = namespace.logs("closed").split()
    assert lines[0] == "closed"
    assert "usr-writable" not in lines
    assert "scratch" in lines
    assert int(lines[-1]) < 8


def test_environment(namespace: Any, helpers: Any) -> None:
    secret = {"metadata": {"name": "s"}, "stringData": {"key": "hidden", "OTHER": "o"}}
    namespace.create("secrets", secret)
    namespace.create("configmaps", {"metadata": {"name": "c"}, "data": {"plain": "text"}})
    container = helpers.shell(
        'echo "$0 $1"; env; pwd',
        args=["first-$(PLAIN)", "$$(PLAIN)"],
        workingDir="/sea/work",
        envFrom=[{"secretRef": {"name": "s"}, "prefix": "P_"}],
        env=[
            {"name": "PLAIN", "value": "one"},
            {"name": "NESTED", "value": "$(PLAIN)-$(P_OTHER)-$(NOPE)"},
            {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "key"}}},
            {"name": "CONFIG", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "plain"}}},
            {
                "name": "ABSENT",
                "valueFrom": {"secretKeyRef": {"name": "no", "key": "no", "optional": True}},
            },
            field("POD_IP", "status.podIP"),
            field("POD_NAME", "metadata.name"),
            field("LABEL", "metadata.labels['app']"),
            field("NODE", "spec.nodeName"),
        ],
    )
    pod = namespace.run("env", container, restartPolicy="Never")
    pod = namespace.until("pods", "env", lambda one: one["status"]["phase"] == "Succeeded")
    lines = namespace.logs("env").splitlines()
    assert lines[0] == "first-one $(PLAIN)"
    assert lines[-1] == "/sea/work"
    environment = dict(line.split("=", 1) for line in lines[1:-1])
    assert environment["NESTED"] == "one-o-$(NOPE)"
    assert (environment["SECRET"], environment["CONFIG"]) == ("hidden", "text")
    assert "ABSENT" not in environment
    assert environment["POD_IP"] == pod["status"]["podIP"]
    assert (environment["POD_NAME"], environment["LABEL"]) == ("env", "env")
    assert environment["FROM"] == "image"
    assert environment["NODE"] == "shared"
    assert "SSL_CERT_FILE" not in environment, "the host's environment leaks"


def field(name: Any, path: Any) -> Any:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def test_volumes(namespace: Any, helpers: Any) -> None:
    namespace.create("secrets", {"metadata": {"name": "s"}, "stringData": {"k": "v", "k2": "v2"}})
    namespace.create("configmaps", {"metadata": {"name": "c"}, "data": {"a.txt": "A"}})
    mounts = [
        {"name": "data", "mountPath": "/sea/data"},
        {"name": "memory", "mountPath": "/sea/memory"},
        {"name": "secret", "mountPath": "/etc/sea/secret", "readOnly": True},
        {"name": "config", "mountPath": "/var/lib/sea/config"},
        {"name": "config", "mountPath": "/sea/one-file", "subPath": "a.txt"},
        {"name": "about", "mountPath": "/sea/about"},
    ]
    writer = helpers.shell(
        "echo 1 > /sea/data/x; echo 2 > /sea/memory/y; sleep 3600",
        name="writer",
        volumeMounts=mounts[:2],
    )
    script = """
    until [ -s /sea/data/x ] && [ -s /sea/memory/y ]; do sleep 0.05; done
    cat /sea/data/x /sea/memory/y /etc/sea/secret/renamed /var/lib/sea/config/a.txt /sea/one-file
    echo; cat /sea/about/labels; echo; ls /etc/sea/secret; touch /etc/sea/secret/n || echo read-only
    ls /etc/passwd /var/lib/dpkg -d
    sleep 3600
    """
    volumes = [
        {"name": "data", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
        {
            "name": "secret",
            "secret": {"secretName": "s", "items": [{"key": "k", "path": "renamed"}]},
        },
        {"name": "config", "configMap": {"name": "c"}},
        {
            "name": "about",
            "downwardAPI": {
                "items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
            },
        },
    ]
    reader = helpers.shell(script, volumeMounts=mounts)
    namespace.run("volumes", writer, reader, volumes=volumes)
    text = namespace.output("volumes", "dpkg", "-c", "main")
    lines = text.splitlines()
    assert lines[:2] == ["1", "2"]
    assert lines[2:6] == ["vAA", 'app="volumes"', "renamed", lines[5]]
    assert "read-only" in text
    assert "/etc/passwd" in lines


def test_a_pod_reads_the_api_with_its_own_token(namespace: Any, helpers: Any) -> None:
    script = """
import json, os, ssl, urllib.request
folder = '/var/run/secrets/kubernetes.io/serviceaccount/'
host, port = os.environ['KUBERNETES_SERVICE_HOST'], os.environ['KUBERNETES_SERVICE_PORT']
name = open(folder + 'namespace').read()
request = urllib.request.Request(
    f'https://{host}:{port}/api/v1/namespaces/{name}/pods/{os.environ["HOSTNAME"]}',
    headers={'Authorization': 'Bearer ' + open(folder + 'token').read()})
context = ssl.create_default_context(cafile=folder + 'ca.crt')
opener = urllib.request.build_opener(
    urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
print('found', json.load(opener.open(request))['metadata']['name'], flush=True)
"""
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace.name}"
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    namespace.api.request("POST", f"{rbac}/roles", {"metadata": {"name": "r"}, "rules": rules})
    binding = {
        "metadata": {"name": "r"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace.name}],
    }
    namespace.api.request("POST", f"{rbac}/rolebindings", binding)
    namespace.run("self", helpers.python(script), restartPolicy="OnFailure")
    assert namespace.output("self", "found self") == "found self\n"


def test_two_pods_bind_the_same_port_on_their_own_addresses(namespace: Any, helpers: Any) -> None:
    server = "exec python -m http.server --bind $POD_IP 8080 --directory /usr/share"
    ready = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1, "timeoutSeconds": 60}
    for name in ("one", "two"):
        env = [field("POD_IP", "status.podIP")]
        namespace.run(name, helpers.shell(server, env=env, readinessProbe=ready))
    addresses = {namespace.running(name)["status"]["podIP"] for name in ("one", "two")}
    assert len(addresses) == 2


def test_init_containers_and_sidecars_come_first(namespace: Any, helpers: Any) -> None:
    shared = [{"name": "data", "mountPath": "/sea/data"}]
    first = helpers.shell("echo init >> /sea/data/order", name="first", volumeMounts=shared)
    sidecar = helpers.shell(
        "echo sidecar >> /sea/data/order; exec sleep 3600",
        name="sidecar",
        restartPolicy="Always",
        volumeMounts=shared,
    )
    sidecar["startupProbe"] = {
        "exec": {"command": ["grep", "sidecar", "/sea/data/order"]},
        "periodSeconds": 1,
        "timeoutSeconds": 60,
        "failureThreshold": 600,
    }
    main = helpers.shell("echo main >> /sea/data/order; cat /sea/data/order", volumeMounts=shared)
    namespace.run(
        "ordered",
        main,
        initContainers=[first, sidecar],
        volumes=[{"name": "data", "emptyDir": {}}],
        restartPolicy="Never",
    )
    pod = namespace.until("pods", "ordered", lambda one: one["status"]["phase"] == "Succeeded")
    assert namespace.logs("ordered").split() == ["init", "sidecar", "main"]
    init = pod["status"]["initContainerStatuses"][0]["state"]["terminated"]
    assert init["reason"] == "Completed"


def test_an_unsupported_field_is_refused_with_a_sentence(namespace: Any, helpers: Any) -> None:
    namespace.run("bad", helpers.shell("sleep 1"), hostNetwork=True)
    pod = namespace.until("pods", "bad", lambda one: one["status"]["phase"] == "Failed")
    assert pod["status"]["reason"] == "UnsupportedByDevcluster"
    assert "spec.hostNetwork isn't supported" in pod["status"]["message"]
    namespace.delete("pods", "bad")
    namespace.until_gone("pods", "bad")


def test_an_unknown_image_says_which_are_known(namespace: Any, helpers: Any) -> None:
    namespace.run("strange", {**helpers.shell("true"), "image": "busybox"})

    def backing_off(pod: Any) -> Any:
        waiting = helpers.container_status(pod).get("state", {}).get("waiting", {})
        return waiting.get("reason") == "ImagePullBackOff"

    pod = namespace.until("pods", "strange", backing_off)
    message = helpers.container_status(pod)["state"]["waiting"]["message"]
    assert "'busybox'" in message
    assert "test/python" in message


def test_a_missing_secret_is_waited_for(namespace: Any, helpers: Any) -> None:
    env = [{"name": "S", "valueFrom": {"secretKeyRef": {"name": "later", "key": "k"}}}]
    namespace.run("waits", helpers.shell("echo got $S; sleep 3600", env=env))

    def waiting(pod: Any) -> Any:
        state = helpers.container_status(pod).get("state", {}).get("waiting", {})
        return state.get("reason") == "CreateContainerConfigError"

    pod = namespace.until("pods", "waits", waiting)
    message = helpers.container_status(pod)["state"]["waiting"]["message"]
    assert "Secret 'later' not found" in message
    namespace.create("secrets", {"metadata": {"name": "later"}, "stringData": {"k": "it"}})
    namespace.running("waits")
    assert "got it" in namespace.output("waits", "got")
