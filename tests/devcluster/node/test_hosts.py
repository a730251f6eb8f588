"""Names of the cluster: which pods a Service stands for, and the text of /etc/hosts."""

from pathlib import Path
from typing import Any

import pytest

from sea_devcluster.node.hosts import (
    host_name,
    hosts_text,
    name_records,
    own_names,
    published,
    untranslated_ports,
)
from sea_devcluster.node.hosts_files import write_in_place


def pod(
    name: Any, address: Any = "127.1.1.2", ready: Any = True, namespace: Any = "n", **fields: Any
) -> Any:
    spec = {"containers": [{"ports": [{"name": "http", "containerPort": 8080}]}]}
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": "a"}} | fields,
        "spec": spec | {"hostname": name, "subdomain": "svc"},
        "status": {
            "podIP": address,
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


def service(name: Any = "svc", namespace: Any = "n", **spec: Any) -> Any:
    metadata = {"name": name, "namespace": namespace}
    return {"metadata": metadata, "spec": {"selector": {"app": "a"}, **spec}}


DELETED = {"deletionTimestamp": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("one", "unready_too", "expected"),
    [
        (pod("p"), False, True),
        (pod("p", ready=False), False, False),
        (pod("p", ready=False), True, True),
        (pod("p", **DELETED), False, False),
        (pod("p", **DELETED), True, True),
        (pod("p", address=""), True, False),
        (pod("p", labels={"app": "b"}), True, False),
        (pod("p") | {"status": {"podIP": "127.1.1.2", "phase": "Failed"}}, True, False),
    ],
)
def test_which_pods_are_published(one: Any, unready_too: bool, expected: bool) -> None:
    assert bool(published(service(publishNotReadyAddresses=unready_too), [one])) is expected


def test_a_service_without_selector_stands_for_nothing() -> None:
    assert published({"spec": {}}, [pod("p")]) == []


def resolve(text: Any) -> Any:
    found: dict[str, str] = {}
    for line in text.splitlines():
        address, *names = line.split("#")[0].split() or [""]
        for name in names:
            found.setdefault(name, address)
    return found


def test_all_spellings_resolve() -> None:
    pods = [pod("p-0", "127.1.1.10"), pod("p-1", "127.1.1.9")]
    records = name_records([service()], pods, "127.1.0.1")
    own = resolve(hosts_text("127.1.1.10", own_names(pods[0]), "n", records, {"127.7.7.7": ["s3"]}))
    for name in ("p-1", "p-1.svc", "p-1.svc.n", "p-1.svc.n.svc", "p-1.svc.n.svc.cluster.local"):
        assert own[name] == "127.1.1.9"
    for name in ("svc", "svc.n", "svc.n.svc", "svc.n.svc.cluster.local"):
        assert own[name] == "127.1.1.9"
    assert own["p-0"] == own["p-0.svc.n.svc"] == "127.1.1.10"
    assert own["s3"] == "127.7.7.7"
    assert own["kubernetes.default.svc"] == "127.1.0.1"
    assert own["localhost"] == "127.0.0.1"


def test_short_names_stay_in_their_namespace() -> None:
    records = name_records([service()], [pod("p-0")], "127.1.0.1")
    other = resolve(hosts_text("127.1.1.3", ["me"], "other", records, {}))
    assert other["p-0.svc.n"] == "127.1.1.2"
    assert not {"p-0", "p-0.svc", "svc"} & set(other)


def test_names_of_the_pod_itself() -> None:
    assert own_names(pod("p"))[-1] == "p"
    assert host_name({"metadata": {"name": "x" * 62 + "-y"}, "spec": {}}) == "x" * 62


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        ({"port": 8080}, ""),
        ({"port": 8080, "targetPort": "http"}, ""),
        ({"port": 80, "targetPort": 8080}, "Port 80 of the Service is 8080"),
        ({"port": 80, "targetPort": "http"}, "Port 80 of the Service is 8080"),
        ({"port": 80, "targetPort": "nowhere"}, ""),
    ],
)
def test_untranslated_ports(port: Any, expected: str) -> None:
    found = untranslated_ports(service(clusterIP="10.0.0.1", ports=[port]), [pod("p")])
    assert expected in "".join(found)
    assert bool(found) is bool(expected)
    assert untranslated_ports(service(clusterIP="None", ports=[port]), [pod("p")]) == []


def test_a_hosts_file_keeps_its_inode(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    write_in_place(path, b"a much longer text\n")
    inode = path.stat().st_ino
    write_in_place(path, b"short\n")
    assert path.read_bytes() == b"short\n"
    assert path.stat().st_ino == inode
