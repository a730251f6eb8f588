"""How containers end and restart: restart policies, probes, grace periods, logs."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.cluster


START = 0.5
"""`crash_backoff_start` of the nodes here."""


def test_a_killed_process_is_restarted(namespace: Any, helpers: Any) -> None:
    namespace.run("victim", helpers.shell("echo run; exec sleep 3600"))
    pod = namespace.running("victim")
    namespace.output("victim", "run")
    first_id = helpers.container_status(pod)["containerID"]
    os.kill(main_pid(namespace, pod), signal.SIGKILL)

    def restarted(pod: Any) -> Any:
        status = helpers.container_status(pod)
        return status["restartCount"] and "running" in status["state"]

    status = helpers.container_status(namespace.until("pods", "victim", restarted))
    last = status["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"]) == (137, "Error")
    assert last["containerID"] == first_id != status["containerID"]
    assert namespace.logs("victim", "--previous") == "run\n"
    assert "BackOff" not in reasons(namespace, "victim"), "the first restart waits for nothing"


def test_crashes_back_off(namespace: Any, helpers: Any) -> None:
    namespace.run("crash", helpers.shell("echo crash >&2; exit 7"))

    def backing_off(pod: Any) -> Any:
        status = helpers.container_status(pod)
        waiting = status.get("state", {}).get("waiting", {})
        return waiting.get("reason") == "CrashLoopBackOff" and status["restartCount"] >= 2

    pod = namespace.until("pods", "crash", backing_off)
    status = helpers.container_status(pod)
    # Whichever of them was seen: the second restart waits START, each one after it twice as long.
    seconds = min(START * 2 ** (status["restartCount"] - 1), 30)
    assert f"back-off {seconds:g}s" in status["state"]["waiting"]["message"]
    assert status["lastState"]["terminated"]["exitCode"] == 7
    assert pod["status"]["phase"] == "Running"
    namespace.output("crash", "crash")


def test_in_back_off_the_previous_run_is_the_last_one(namespace: Any, helpers: Any) -> None:
    """`lastState` names it, and `kubectl logs --previous` is how one looks for the crash."""
    namespace.run("unique", helpers.shell("cat /proc/sys/kernel/random/uuid; exit 7"))

    def both_name_one_run() -> Any:
        """True only during back-off: a run that continues or begins in between is another one."""
        last, previous = [
            namespace.kubectl("logs", "unique", *how) for how in ((), ("--previous",))
        ]
        same = last.returncode == 0 and last.stdout == previous.stdout
        return last.stdout if same else ""

    found = namespace.until_true(both_name_one_run, "a back-off whose last run is the previous one")
    assert len(found.strip()) == 36, "the run's own UUID"


def test_a_command_that_is_not_there_cannot_start(namespace: Any, helpers: Any) -> None:
    namespace.run(
        "typo", {**helpers.shell(""), "command": ["no-such-program"]}, restartPolicy="Never"
    )
    pod = namespace.until("pods", "typo", lambda one: one["status"]["phase"] == "Failed")
    ended = helpers.container_status(pod)["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (128, "StartError")
    assert "no-such-program" in ended["message"]


def test_the_grace_period_is_honoured(namespace: Any, helpers: Any) -> None:
    # It ends only after the test has seen that it was told to.
    last = "echo done > /sea/data/done; until [ -e /sea/data/seen ]; do sleep 0.05; done; exit 0"
    script = f"trap '{last}' TERM; echo up; while true; do sleep 0.05; done"
    mounts = [{"name": "data", "mountPath": "/sea/data"}]
    namespace.run(
        "graceful",
        helpers.shell(script, volumeMounts=mounts),
        terminationGracePeriodSeconds=3600,
        volumes=[{"name": "data", "emptyDir": {}}],
    )
    namespace.running("graceful")
    namespace.output("graceful", "up")
    pod = namespace.get("pods", "graceful")
    file = namespace.agent.root / "pods" / pod["metadata"]["uid"] / "volumes" / "data" / "done"
    namespace.delete("pods", "graceful")
    namespace.until_true(file.exists, "the file written by the SIGTERM handler")
    assert namespace.get("pods", "graceful")["metadata"]["deletionTimestamp"], "it is left its time"
    (file.parent / "seen").touch()
    namespace.until_gone("pods", "graceful")
    namespace.until_true(lambda: not file.parent.exists(), "the volume's deletion")


def test_sigkill_comes_after_the_grace_period(namespace: Any, helpers: Any) -> None:
    namespace.run(
        "deaf",
        helpers.shell("trap '' TERM; echo up; while true; do sleep 0.1; done"),
        terminationGracePeriodSeconds=1,
    )
    pod = namespace.running("deaf")
    namespace.output("deaf", "up")
    pid = main_pid(namespace, pod)
    began = time.monotonic()
    namespace.delete("pods", "deaf")
    namespace.until_gone("pods", "deaf")
    assert time.monotonic() - began > 0.9, "less than its grace period"
    assert not alive(pid)


def test_a_forced_delete_is_immediate(namespace: Any, helpers: Any) -> None:
    namespace.run(
        "forced",
        helpers.shell("trap '' TERM; echo up; while true; do sleep 0.1; done"),
        terminationGracePeriodSeconds=3600,
    )
    pod = namespace.running("forced")
    namespace.output("forced", "up")
    pid = main_pid(namespace, pod)
    namespace.delete("pods", "forced", gracePeriodSeconds=0)
    namespace.until_true(lambda: not alive(pid), "the end of the process, an hour too early")
    assert namespace.find("pods", "forced") is None


def test_liveness_failures_restart(namespace: Any, helpers: Any) -> None:
    # Three failures in a row: the first probe may well come before the shell's first command.
    script = "touch /tmp/ok; sleep 1; rm /tmp/ok; sleep 3600"
    probe = {"exec": {"command": ["cat", "/tmp/ok"]}, "periodSeconds": 1, "failureThreshold": 3}
    namespace.run("sick", helpers.shell(script, livenessProbe=probe))
    pod = namespace.until(
        "pods", "sick", lambda one: helpers.container_status(one).get("restartCount")
    )
    assert helpers.container_status(pod)["lastState"]["terminated"]["exitCode"] in {137, 143}
    told = {"Pulled", "Created", "Started", "Unhealthy", "Killing"}
    namespace.until_true(lambda: told <= reasons(namespace, "sick"), "the Events")


def test_readiness_moves_the_address_in_and_out_of_the_service(
    namespace: Any, helpers: Any
) -> None:
    server = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if os.path.exists('/sea/data/ready') else 503)
        self.end_headers()
http.server.HTTPServer((os.environ['POD_IP'], 8080), Handler).serve_forever()
"""
    env = [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]
    probe = {
        "httpGet": {"path": "/", "port": "http"},
        "periodSeconds": 1,
        "timeoutSeconds": 60,
        "failureThreshold": 1,
    }
    container = helpers.python(
        server,
        env=env,
        readinessProbe=probe,
        ports=[{"name": "http", "containerPort": 8080}],
        volumeMounts=[{"name": "data", "mountPath": "/sea/data"}],
    )
    ports = [{"port": 8080}]
    service = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": ports}}
    namespace.create("services", service)
    pod = namespace.run("web", container, volumes=[{"name": "data", "emptyDir": {}}])
    folder = namespace.agent.root / "pods" / pod["metadata"]["uid"] / "volumes" / "data"

    namespace.run("client", helpers.shell("exec sleep 3600"))
    client = namespace.running("client")["metadata"]["uid"]
    hosts = namespace.agent.root / "pods" / client / "hosts"
    inode = hosts.stat().st_ino
    namespace.until("pods", "web", lambda one: helpers.container_status(one).get("started"))
    assert "web" not in hosts.read_text()
    (folder / "ready").touch()
    address = namespace.running("web")["status"]["podIP"]
    namespace.until_true(lambda: f"{address}\tweb." in hosts.read_text(), "the Service's name")
    (folder / "ready").unlink()
    namespace.until_true(lambda: "web" not in hosts.read_text(), "the name's removal")
    assert hosts.stat().st_ino == inode


def test_logs_follow_tail_and_timestamps(namespace: Any, helpers: Any) -> None:
    namespace.run(
        "talks",
        helpers.shell("for i in 1 2 3 4 5; do echo line $i; sleep 0.2; done"),
        restartPolicy="Never",
    )
    namespace.output("talks", "line 1")
    assert namespace.logs("talks", "--follow").split("\n") == [f"line {i}" for i in range(1, 6)] + [
        ""
    ]
    assert namespace.logs("talks", "--tail=2") == "line 4\nline 5\n"
    assert namespace.logs("talks", "--tail=1", "--timestamps").startswith("20")
    assert namespace.logs("talks", "--limit-bytes=6") == "line 1"
    refused = namespace.kubectl("exec", "talks", "--", "true")
    assert refused.returncode != 0


def test_exec_is_refused_with_a_sentence(namespace: Any, helpers: Any) -> None:
    namespace.run("quiet", helpers.shell("exec sleep 3600"))
    namespace.running("quiet")
    refused = namespace.kubectl("exec", "quiet", "--", "true")
    assert refused.returncode != 0
    assert "doesn't implement exec" in refused.stderr


def main_pid(namespace: Any, pod: Any) -> Any:
    return namespace.until_true(lambda: namespace.agent.main_pid(pod, "main"), "a main process")


def reasons(namespace: Any, name: Any) -> Any:
    """Of the Events about a pod."""
    events = namespace.api.get(namespace.path("events"))["items"]
    return {one["reason"] for one in events if one["involvedObject"]["name"] == name}


def alive(pid: Any) -> Any:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
