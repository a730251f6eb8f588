"""The Helm chart with the real helm on a real API server: from lint to uninstall.

On a control plane of its own, since CRD and ClusterRoles are the cluster's.
"""

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sea_api.outputs import chart_template
from sea_devcluster.build import HELM, find_or_build_tool
from sea_devcluster.controlplane import ControlPlane
from sea_testing.crd_install import PATIENCE

# The first test may have to build helm.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]

Object = dict[str, Any]
Key = tuple[str, str]
REGISTRY = ("--set", "image.registry=registry.example/team")
ALL_VALUES: Object = {
    "enabled": True,
    "global": {"anything": {"goes": 1}},
    "fullnameOverride": "other",
    "image": {
        "registry": "registry.example/team/",
        "tag": "v2",
        "pullPolicy": "Always",
        "pullSecrets": [{"name": "pull"}],
    },
    "images": {
        "operator": "o/operator",
        "trainer": "o/trainer",
        "rollout": "o/rollout",
        "coordinator": "o/coordinator",
    },
    "replicas": 2,
    "watchNamespaces": ["default", "kube-public"],
    "crds": {"enabled": True, "keep": False},
    "serviceAccount": {"annotations": {"example/role": "arn"}},
    "rbac": {"aggregate": True, "nodes": True},
    "fixedNodes": True,
    "resources": {"limits": {"memory": "1Gi"}},
    "nodeSelector": {"pool": "cpu"},
    "tolerations": [{"key": "cpu", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "priorityClassName": "system-cluster-critical",
    "podLabels": {"team": "ml"},
    "podAnnotations": {"example/scrape": "true"},
}
Values = dict[str, Any] | None


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path_factory.mktemp("chart")) as plane:
        yield plane


@pytest.fixture(scope="module")
def chart(root: Path) -> Path:
    return root / "charts" / "sea-operator"


Helm = Callable[..., str]


@pytest.fixture(scope="module")
def helm(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """`helm(*arguments, fails=False)` -> what it prints; with `fails`, why it refuses."""
    program, home = find_or_build_tool(HELM), tmp_path_factory.mktemp("helm")
    folders = {f"HELM_{what}_HOME": str(home / what) for what in ("CACHE", "CONFIG", "DATA")}
    environment = {**os.environ, **folders, "KUBECONFIG": str(plane.kubeconfig)}

    def run(*arguments: str | Path, fails: bool = False) -> str:
        done = subprocess.run(
            [str(program), *map(str, arguments)],
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert (done.returncode != 0) is fails, done.stdout + done.stderr
        return done.stderr if fails else done.stdout

    return run


@pytest.fixture(scope="module")
def kubectl(plane: ControlPlane) -> Callable[..., str]:
    """`kubectl(*arguments, stdin="")` -> its output."""

    def run(*arguments: str, stdin: str = "") -> str:
        done = subprocess.run(
            [str(plane.kubectl), "--kubeconfig", str(plane.kubeconfig), *arguments],
            input=stdin,
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def namespace(kubectl: Callable[..., str], clean: None) -> Iterator[str]:
    """A namespace of its own."""
    name = f"h-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


# Not for tests that only render: each of its commands costs a process.
@pytest.fixture
def clean(helm: Helm, kubectl: Callable[..., str]) -> Iterator[None]:
    """No release and no CRD is left for the next test."""
    yield
    for release in json.loads(helm("list", "-A", "-o", "json")):
        helm("uninstall", release["name"], "-n", release["namespace"])
    kubectl("delete", "crd", "seatrainingjobs.sea-operator.io", "--ignore-not-found")


def by_name(text: str) -> dict[Key, Object]:
    return {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(text) if one}


def written(values: Object, folder: Path) -> Path:
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


# --- what is rendered ---


@pytest.mark.parametrize("values", [None, ALL_VALUES], ids=["defaults", "all values"])
def test_lint_finds_nothing(helm: Helm, chart: Path, tmp_path: Path, values: Values) -> None:
    more = ["-f", written(values, tmp_path)] if values else []
    assert "1 chart(s) linted, 0 chart(s) failed" in helm("lint", "--strict", chart, *more)


def test_every_value_of_the_chart_is_among_those_tried(chart: Path) -> None:
    known = json.loads((chart / "values.schema.json").read_text())["properties"]
    assert set(ALL_VALUES) == set(known)


TRIED: tuple[Object, ...] = (
    {},
    ALL_VALUES,
    {"rbac": {"aggregate": False, "nodes": False}},
    {"crds": {"keep": False}},
    {"replicas": 0, "watchNamespaces": ["default"]},
)


def test_the_api_server_takes_all_that_is_rendered(
    helm: Helm, chart: Path, kubectl: Callable[..., str], tmp_path: Path
) -> None:
    """Strictly: no field that it doesn't know, none twice. All values at once, since kubectl needs
    seconds to learn what the server takes, and the CRD is the same in most."""
    texts: dict[str, None] = {}
    for values in TRIED:
        full = {"image": {"registry": "registry.example"}, **values}
        text = helm("template", "sea", chart, "-n", "default", "-f", written(full, tmp_path))
        parts = [part for part in text.split("\n---\n") if yaml.safe_load(part)]
        assert parts
        texts |= dict.fromkeys(parts)
    dry = ("--server-side", "--dry-run=server", "--validate=strict")
    taken = kubectl("apply", *dry, "-f-", stdin="\n---\n".join(texts))
    assert taken.count("(server dry run)") == len(texts) > len(TRIED)


def test_chart_and_plain_manifests_agree(helm: Helm, chart: Path, root: Path) -> None:
    """Object by object, but for labels that are Helm's; only the Namespace is its own business."""
    text = helm(
        *("template", "sea-operator", chart, "-n", "sea-system", "--set", "crds.enabled=false"),
        *("--set", "image.registry=registry.invalid", "--set", "image.tag=latest"),
    )
    plain = by_name((root / "deploy" / "operator.yaml").read_text())
    del plain["Namespace", "sea-system"]
    assert {key: _without_helm(one) for key, one in by_name(text).items()} == plain


HELMS = {"app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by"}
HELMS |= {"helm.sh/chart"}


def _without_helm(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_helm(one) for key, one in value.items() if key not in HELMS}
    return [_without_helm(one) for one in value] if isinstance(value, list) else value


def test_without_nodes_the_chart_binds_nothing_cluster_wide_but_jobs(
    helm: Helm, chart: Path
) -> None:
    """With `watchNamespaces`, which turns the other one into RoleBindings: nothing at all."""
    off = ("template", "sea", chart, "-n", "x", *REGISTRY, "--set", "rbac.nodes=false")
    bindings = [key for key in by_name(helm(*off)) if key[0] == "ClusterRoleBinding"]
    assert bindings == [("ClusterRoleBinding", "x:sea")]
    watching = by_name(helm(*off, "--set", "watchNamespaces={default}"))
    assert [key for key in watching if key[0] == "ClusterRoleBinding"] == []
    assert watching["RoleBinding", "x:sea"]["metadata"]["namespace"] == "default"


@pytest.mark.parametrize("fixed", [True, False])
def test_nodes_are_listed_only_where_the_chart_says_that_none_are_added(
    helm: Helm, chart: Path, fixed: bool
) -> None:
    given = ("--set", f"fixedNodes={str(fixed).lower()}", "--set", "rbac.nodes=false")
    text = helm("template", "sea", str(chart), "-n", "x", *REGISTRY, *given)
    assert ("--fixed-nodes" in text) is fixed
    assert ("verbs: [get, list]\n" in text) is fixed
    assert ("resources: [nodes]" in text) is fixed


def test_without_a_registry_a_sentence_says_what_to_do(helm: Helm, chart: Path) -> None:
    said = helm("template", "sea", chart, fails=True)
    assert "image.registry is empty: build the images" in said


@pytest.mark.parametrize("registry", ["registry.example/team", "registry.example/team/"])
def test_a_registry_may_end_with_a_slash(helm: Helm, chart: Path, registry: str) -> None:
    text = helm("template", "sea", chart, "--set", f"image.registry={registry}")
    pod = by_name(text)["Deployment", "sea"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == "registry.example/team/sea-operator/operator:0.1.0"


def test_a_misspelled_value_is_refused(helm: Helm, chart: Path) -> None:
    said = helm("template", "sea", chart, *REGISTRY, "--set", "replica=2", fails=True)
    assert "replica" in said


# --- an umbrella chart ---


@pytest.fixture
def umbrella(chart: Path, tmp_path: Path) -> Path:
    """A platform's chart, of which this one is a part that can be turned off."""
    folder = tmp_path / "umbrella"
    shutil.copytree(chart, folder / "charts" / "sea-operator")
    part = {"name": "sea-operator", "version": "0.1.0", "condition": "sea-operator.enabled"}
    about = {"apiVersion": "v2", "name": "ml-platform", "version": "0.1.0", "dependencies": [part]}
    (folder / "templates").mkdir()
    (folder / "Chart.yaml").write_text(yaml.safe_dump(about))
    (folder / "values.yaml").write_text(yaml.safe_dump({"sea-operator": {"enabled": True}}))
    return folder


def test_an_umbrella_chart_turns_it_on_and_gives_the_registry(helm: Helm, umbrella: Path) -> None:
    own = ("--set", "sea-operator.image.registry=registry.example/own")
    shared = ("--set", "global.imageRegistry=registry.example/shared")
    for given, expected in ((shared, "shared"), ((*shared, *own), "own")):
        made = by_name(helm("template", "x", umbrella, *given))
        (container,) = made["Deployment", "x"]["spec"]["template"]["spec"]["containers"]
        assert container["image"].startswith(f"registry.example/{expected}/sea-operator/")
    helm("lint", "--strict", umbrella, *shared)


def test_an_umbrella_chart_turns_it_off(helm: Helm, umbrella: Path) -> None:
    assert by_name(helm("template", "x", umbrella, "--set", "sea-operator.enabled=false")) == {}


def test_an_umbrella_chart_without_a_registry_reads_the_same_sentence(
    helm: Helm, umbrella: Path
) -> None:
    assert "global.imageRegistry" in helm("template", "x", umbrella, fails=True)


# --- releases on the cluster ---

JOB = """
apiVersion: sea-operator.io/v1alpha1
kind: SEATrainingJob
metadata: {name: kept}
spec:
  model: {name: m, source: "builtin:tiny"}
  storage: {url: "s3://bucket/prefix"}
  data: {sft: ["s3://bucket/sft.jsonl"]}
  domains: [shop]
  stages: [{name: sft, type: SFT, sft: {}}]
"""


@pytest.fixture
def previous(root: Path, tmp_path: Path) -> Path:
    """The chart of the previous release, with its CRD."""
    golden = root / "tests" / "releases" / "0.1.0"
    folder = tmp_path / "previous"
    shutil.copytree(golden / "chart", folder)
    template = chart_template((golden / "crd.yaml").read_text())
    (folder / "templates" / "crd.yaml").write_text(template)
    return folder


def schema_of(kubectl: Callable[..., str]) -> Any:
    """Of the installed CRD."""
    crd = json.loads(kubectl("get", "crd", "seatrainingjobs.sea-operator.io", "-o", "json"))
    return crd["spec"]["versions"][0]["schema"]


def test_install_upgrade_rollback_and_uninstall_keep_the_jobs(
    helm: Helm, chart: Path, previous: Path, kubectl: Callable[..., str], namespace: str
) -> None:
    """From the previous release to this one and back; jobs survive all of it."""
    release = ("sea-operator", "-n", namespace)
    old = ("--set", "image.registry=registry.example/")
    helm("install", "sea-operator", previous, "-n", namespace, *old)
    before = schema_of(kubectl)
    kubectl("wait", "--for=condition=Established", "crd/seatrainingjobs.sea-operator.io")
    kubectl("-n", namespace, "apply", "-f", "-", stdin=JOB)
    uid = ("-n", namespace, "get", "seajob", "kept", "-o", "jsonpath={.metadata.uid}")
    first = kubectl(*uid)
    said = helm("upgrade", "sea-operator", chart, "-n", namespace, *REGISTRY)
    assert "UpdateWaiting" in said
    deployment = json.loads(
        kubectl("-n", namespace, "get", "deployment", "sea-operator", "-o", "json")
    )
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "registry.example/team/sea-operator/operator:0.1.0"
    assert kubectl(*uid) == first
    helm("rollback", *release)
    assert schema_of(kubectl) == before
    assert kubectl(*uid) == first
    helm("upgrade", "sea-operator", chart, "-n", namespace, *REGISTRY)
    helm("uninstall", *release)
    assert kubectl(*uid) == first
    left = json.loads(kubectl("get", "clusterrole,clusterrolebinding", "-o", "json"))["items"]
    assert [one for one in left if "sea-operator" in one["metadata"]["name"]] == []


def test_two_releases_of_one_name_in_two_namespaces(
    helm: Helm, chart: Path, kubectl: Callable[..., str], namespace: str
) -> None:
    other = f"{namespace}-b"
    helm("install", "sea", chart, "-n", namespace, *REGISTRY, "--set", "watchNamespaces={default}")
    more = ("--set", f"crds.enabled=false,watchNamespaces={{{namespace}}}")
    said = helm("install", "sea", chart, "-n", other, "--create-namespace", *REGISTRY, *more)
    assert "upgrade the release that owns it" in said
    helm("uninstall", "sea", "-n", other)
    kubectl("get", "clusterrole", f"{namespace}:sea")
    kubectl("get", "rolebinding", "-n", "default", f"{namespace}:sea")
    kubectl("delete", "namespace", other, "--wait=false")


def test_two_releases_in_one_namespace_have_two_leases(helm: Helm, chart: Path) -> None:
    args = {
        name: by_name(helm("template", name, chart, *REGISTRY))["Deployment", name]["spec"][
            "template"
        ]["spec"]["containers"][0]["args"]
        for name in ("a", "b")
    }
    assert args == {"a": ["--lease-name=a"], "b": ["--lease-name=b"]}


def test_a_kept_crd_is_found_again_or_taken_over(
    helm: Helm, chart: Path, kubectl: Callable[..., str], namespace: str
) -> None:
    said = helm("install", "one", chart, "-n", namespace, *REGISTRY)
    assert "--take-ownership" in said
    helm("uninstall", "one", "-n", namespace)
    kubectl("get", "crd", "seatrainingjobs.sea-operator.io")
    helm("install", "one", chart, "-n", namespace, *REGISTRY)
    helm("uninstall", "one", "-n", namespace)
    two = ("install", "two", chart, "-n", namespace, *REGISTRY)
    assert "invalid ownership metadata" in helm(*two, fails=True)
    helm(*two, "--take-ownership")


def test_a_crd_that_is_not_kept_goes_with_its_release(
    helm: Helm, chart: Path, kubectl: Callable[..., str], namespace: str
) -> None:
    gone = ("--set", "crds.keep=false")
    said = helm("install", "sea", chart, "-n", namespace, *REGISTRY, *gone)
    assert "deletes the CRD, and with it all jobs" in said
    helm("uninstall", "sea", "-n", namespace)
    wait = ("wait", "--for=delete", f"--timeout={PATIENCE}s")
    kubectl(*wait, "crd/seatrainingjobs.sea-operator.io")


def test_a_missing_watch_namespace_is_named(helm: Helm, chart: Path, namespace: str) -> None:
    missing = ("--set", "watchNamespaces={nowhere}")
    command = ("upgrade", "--install", "sea", chart, "-n", namespace, *REGISTRY)
    assert 'namespaces "nowhere" not found' in helm(*command, *missing, fails=True)
    # As the README says: after the namespace is there, the same command goes on.
    helm(*command, "--set", f"watchNamespaces={{{namespace}}}")
