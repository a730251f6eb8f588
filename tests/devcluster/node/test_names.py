"""Names of pods and Services in /etc/hosts, and the node itself coming and going."""

import signal
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.cluster


def test_statefulset_pods_find_each_other(namespace: Any, helpers: Any) -> None:
    script = """
import os, socket, time
other = 'peer-1' if os.environ['HOSTNAME'] == 'peer-0' else 'peer-0'
names = [f'{other}.peer', f'{other}.peer.NS', f'{other}.peer.NS.svc', other,
         f'{other}.peer.NS.svc.cluster.local', 'peer', 'peer.NS.svc', 'extra.example',
         'kubernetes.default.svc', socket.gethostname()]
for name in names:
    while True:
        try:
            print(name, socket.gethostbyname(name), flush=True)
            break
        except OSError:
            time.sleep(0.05)
print('all', flush=True)
time.sleep(3600)
""".replace("NS", namespace.name)
    service = {
        "metadata": {"name": "peer"},
        "spec": {
            "clusterIP": "None",
            "selector": {"app": "peer"},
            "publishNotReadyAddresses": True,
        },
    }
    namespace.create("services", service)
    never = {"exec": {"command": ["false"]}, "periodSeconds": 1}
    template = helpers.pod("peer", helpers.python(script, readinessProbe=never))
    stateful = {
        "metadata": {"name": "peer"},
        "spec": {
            "replicas": 2,
            "serviceName": "peer",
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": {"app": "peer"}},
            "template": {"metadata": {"labels": {"app": "peer"}}, "spec": template["spec"]},
        },
    }
    namespace.create("statefulsets", stateful)
    text = namespace.output("peer-0", "all")
    own, other = (address(namespace, name) for name in ("peer-0", "peer-1"))
    found = dict(line.split(" ") for line in text.splitlines() if " " in line)
    for name in (n for n in found if n.startswith("peer-1")):
        assert found[name] == other
    assert found["extra.example"] == "127.9.9.9"
    assert found["peer-0"] == own

    # The same name again is another pod, with another address that the peer learns.
    old = namespace.get("pods", "peer-1")["metadata"]["uid"]
    namespace.delete("pods", "peer-1")
    pod = namespace.until(
        "pods",
        "peer-1",
        lambda one: one["metadata"]["uid"] != old and one["status"].get("podIP"),
    )
    assert pod["status"]["podIP"] != other
    hosts = namespace.agent.root / "pods"
    hosts = hosts / namespace.get("pods", "peer-0")["metadata"]["uid"] / "hosts"
    namespace.until_true(lambda: pod["status"]["podIP"] in hosts.read_text(), "the new address")


def address(namespace: Any, name: Any) -> Any:
    return namespace.until("pods", name, lambda one: one["status"].get("podIP"))["status"]["podIP"]


def test_a_port_that_only_a_real_cluster_translates_is_reported(
    namespace: Any, helpers: Any
) -> None:
    namespace.run("web", helpers.shell("exec sleep 3600"))
    ports = [{"port": 80, "targetPort": 8080}]
    service = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": ports}}
    namespace.create("services", service)

    def warned() -> Any:
        events = namespace.api.get(namespace.path("events"))["items"]
        return [one for one in events if one["reason"] == "PortsNotTranslated"]

    events = namespace.until_true(warned, "the Event")
    assert "Port 80 of the Service is 8080" in events[0]["message"]


@pytest.fixture
def own_agent(make_agent: Any, request: pytest.FixtureRequest) -> Any:
    """A node for one test alone: only pods that name it run there."""
    name = request.node.name.replace("_", "-")[:40].strip("-")
    agent = make_agent(name, stop_grace_seconds=1)
    agent.start()
    yield agent
    agent.stop()


def on(agent: Any) -> Any:
    return {"nodeName": agent.config["node_name"]}


def node_ready(namespace: Any, agent: Any) -> Any:
    node = namespace.api.get(f"/api/v1/nodes/{agent.config['node_name']}")
    return {one["type"]: one["status"] for one in node["status"]["conditions"]}.get("Ready")


def sandboxes(agent: Any) -> Any:
    """bubblewrap processes and mounts that belong to the agent."""
    found = []
    root = str(agent.root)
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if root in (folder / "cmdline").read_text():
                found.append(folder.name)
        except OSError:
            continue
    mounts = Path("/proc/self/mounts").read_text()
    return found, root in mounts


def test_stopping_the_agent_leaves_nothing(namespace: Any, helpers: Any, own_agent: Any) -> None:
    namespace.agent = own_agent
    namespace.run(
        "left", helpers.shell("trap '' TERM; while true; do sleep 0.1; done"), **on(own_agent)
    )
    pod = namespace.running("left")
    assert node_ready(namespace, own_agent) == "True"
    leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    lease = f"{leases}/{on(own_agent)['nodeName']}"
    assert namespace.api.get(lease)["spec"]["holderIdentity"]
    own_agent.stop()
    # A sandbox's init tells its end to bubblewrap before it is gone itself.
    namespace.until_true(lambda: sandboxes(own_agent) == ([], False), "the end of all sandboxes")
    assert node_ready(namespace, own_agent) in {"False", "Unknown"}
    assert pod["metadata"]["uid"] not in {p.name for p in Path("/dev/shm").glob("sea-*/*")}


def test_a_killed_agent_comes_back_and_restarts_its_pods(
    namespace: Any, helpers: Any, own_agent: Any
) -> None:
    namespace.agent = own_agent
    container = helpers.shell(
        "echo run >> /sea/data/runs; exec sleep 3600",
        volumeMounts=[{"name": "data", "mountPath": "/sea/data"}],
    )
    namespace.run("back", container, volumes=[{"name": "data", "emptyDir": {}}], **on(own_agent))
    pod = namespace.running("back")
    runs = own_agent.root / "pods" / pod["metadata"]["uid"] / "volumes" / "data" / "runs"
    namespace.until_true(lambda: runs.exists() and runs.read_text() == "run\n", "the first run")
    pid = namespace.until_true(lambda: own_agent.main_pid(pod, "main"), "a main process")
    own_agent.stop(signal.SIGKILL)
    namespace.until_true(lambda: not Path(f"/proc/{pid}").exists(), "the end of the pod's process")
    own_agent.start()
    pod = namespace.until("pods", "back", lambda one: helpers.container_status(one)["restartCount"])
    namespace.running("back")
    last = helpers.container_status(pod)["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"]) == (137, "ContainerStatusUnknown")
    namespace.until_true(lambda: runs.read_text() == "run\n" * 2, "the second run")
