"""Pure parts of the control plane: command lines, keys, ports, process identities."""

import contextlib
import os
import platform
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from sea_devcluster import components, nodes, records, shutdown, subnets
from sea_devcluster.api import KubeApi
from sea_devcluster.components import Layout, Ports
from sea_devcluster.credentials import Authority, write_kubeconfig
from sea_devcluster.daemons import clean_environment
from sea_devcluster.errors import StartError
from sea_devcluster.ports import free_ports, is_free
from sea_devcluster.processes import ProcessId, descendants, end
from sea_devcluster.waiting import wait_until

LAYOUT = Layout("127.0.0.1", Ports(1, 2, 3, 4, 5), Path("/state"))


@pytest.mark.parametrize("component", components.COMPONENTS)
def test_every_listener_is_on_the_layouts_address(component: str) -> None:
    """Nothing of a devcluster may be reachable from another machine."""
    text = " ".join(components.ARGUMENTS[component](LAYOUT))
    assert "0.0.0.0" not in text
    assert "127.0.0.1" in text


def test_the_api_server_takes_tokens_certificates_and_node_identities() -> None:
    """The three ways in that credentials.py relies on."""
    arguments = components.api_server(LAYOUT)
    assert "--authorization-mode=Node,RBAC" in arguments
    assert "--token-auth-file=/state/pki/tokens.csv" in arguments
    assert "--client-ca-file=/state/pki/ca.crt" in arguments


def test_a_certificate_is_valid_for_its_address_and_issued_once(tmp_path: Path) -> None:
    """OpenSSL's strict view: what Python 3.13 demands holds."""
    authority = Authority(tmp_path)
    pair = authority.issue("a", "a", "127.9.0.1", "here")
    first = pair.certificate.read_bytes()
    assert authority.issue("a", "a", "here").certificate.read_bytes() == first
    context = ssl.create_default_context(cafile=str(authority.pair.certificate))
    context.load_cert_chain(pair.certificate, pair.key)
    assert pair.key.stat().st_mode & 0o077 == 0


def test_a_kubeconfig_names_server_authority_and_user(tmp_path: Path) -> None:
    """The document that kubectl reads."""
    text = write_kubeconfig(tmp_path / "me", "me", LAYOUT, {"token": "secret"}).read_text()
    assert '"token": "secret"' in text
    assert '"server": "https://127.0.0.1:3"' in text


def test_ports_are_different_and_free() -> None:
    """Each of the ports can be bound."""
    ports = free_ports(("127.0.0.1", "127.0.0.9"), 20)
    assert len(set(ports)) == 20
    assert all(is_free("127.0.0.9", port) for port in ports)


def test_no_free_port_is_an_error_with_a_remedy() -> None:
    """An address that cannot be bound has no free port."""
    with pytest.raises(StartError, match="ss -ltnp"):
        free_ports(("192.0.2.1",), 1, random.Random(0))


def test_a_recycled_pid_is_a_stranger() -> None:
    """Same PID, other start: neither alive nor reachable by a signal."""
    me = ProcessId.of(os.getpid())
    assert me.alive()
    stranger = ProcessId(me.pid, me.started - 2, me.boot)
    assert not stranger.alive()
    assert end(stranger, 0.0)
    assert not ProcessId(me.pid, me.started, "another boot").alive()


def test_a_process_lives_as_long_as_any_of_its_threads() -> None:
    """A killed one's first thread may be a zombie while others still hold its ports."""
    exit_one_thread = 60 if platform.machine() == "x86_64" else 93
    script = (
        "import ctypes, threading, time;"
        "threading.Thread(target=time.sleep, args=(3600,)).start();"
        "print('ready', flush=True);"
        f"ctypes.CDLL(None).syscall({exit_one_thread}, 0)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            process = ProcessId.of(child.pid)
            wait_until(
                lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE,
                what="the first thread's end",
                timeout=120,
            )
            assert process.alive()
            assert not process.wait(0.05)
        finally:
            child.send_signal(signal.SIGKILL)
        assert process.wait(120.0)
        assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE  # nobody has looked yet
        assert not process.alive()


def test_a_process_that_ignores_sigterm_is_killed() -> None:
    """Its children are listed before it ends."""
    script = "trap : TERM; sleep 3600 & echo ready; wait; wait; wait"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        process = ProcessId.of(child.pid)
        family = descendants(process)
        assert len(family) == 1
        assert not end(process, 0.1)
        assert end(family[0], 120.0)
    assert not process.alive()


def test_daemons_do_not_inherit_proxies_and_credentials() -> None:
    """Nothing that would reroute or reconfigure a local server."""
    kept = clean_environment(
        {"PATH": "/bin", "https_proxy": "x", "KUBECONFIG": "x", "AWS_PROFILE": "x", "GOFLAGS": "x"}
    )
    assert kept == {"PATH": "/bin"}


def test_waiting_in_vain_says_for_what() -> None:
    """A time-out is a failure with a name."""
    with pytest.raises(StartError, match=r"Waited 0 s for the moon, then gave up"):
        wait_until(lambda: False, what="the moon", timeout=0.0, interval=0.0)


def test_listening_addresses_come_from_the_kernels_table() -> None:
    """127.61 listens, 127.62 is only connected, 192.168 is no loopback."""
    rows = [
        "  sl  local_address rem_address   st",
        "   0: 01003D7F:1F90 00000000:0000 0A",
        "   1: 01003E7F:1F90 00000000:0000 01",
        "   2: 0101A8C0:1F90 00000000:0000 0A",
    ]
    assert subnets.listening("\n".join(rows)) == {61}


def test_all_subnets_taken_is_an_error_with_a_remedy() -> None:
    """Each cluster has its own subnet."""
    assert subnets.choose({subnets.FIRST}) == subnets.FIRST + 1
    with pytest.raises(StartError, match="down --name"):
        subnets.choose(range(256))


def test_a_subnets_addresses_do_not_overlap() -> None:
    """Servers, nodes and pods of one cluster."""
    subnet = subnets.Subnet(70)
    assert subnet.node(1) == "127.70.0.11"
    assert subnet.pods(2) == "127.70.2.0/24"
    assert len({subnet.control_plane, subnet.s3, subnet.node(1), subnet.node(2)}) == 4


def test_claims_are_kept_while_the_state_folder_exists(tmp_path: Path) -> None:
    """The same owner gets the same subnet, another owner another one; release is idempotent."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    try:
        first = subnets.claim(one)
        assert subnets.claim(one) == first
        assert subnets.claim(two) != first
    finally:
        subnets.release(one)
        subnets.release(two)
        subnets.release(two)


def test_only_folders_that_a_pod_cannot_see_are_mounted() -> None:
    """A pod has its own /tmp and /run."""
    roots = [Path("/home/a/.venv"), Path("/tmp/x/.venv"), Path("/tmp/x"), Path("/run/y")]
    assert nodes.hidden_roots(roots) == ["/run/y", "/tmp/x"]


def test_a_record_survives_a_round_trip(tmp_path: Path) -> None:
    """What `up` writes, `down` reads."""
    capacity = records.Capacity("2", "4Gi", 1)
    record = records.ClusterRecord("a", 61, 2, "/clone", capacity, ("x",))
    assert records.load(tmp_path) is None
    records.save(tmp_path, record)
    assert records.load(tmp_path) == record
    assert capacity.resources()["nvidia.com/gpu"] == "1"


@pytest.mark.parametrize(("own", "expected"), [(None, 10), (3, 3), (600, 10)])
def test_pods_get_their_own_grace_up_to_a_limit(own: int | None, expected: int) -> None:
    """`down` waits ten seconds at most."""
    spec = {} if own is None else {"terminationGracePeriodSeconds": own}
    assert shutdown.grace_of({"spec": spec}) == expected


def test_mounts_below_a_folder_with_an_umlaut_are_found() -> None:
    """The kernel leaves UTF-8 unchanged and escapes only whitespace and backslashes."""
    line = "1 1 0:1 / /home/jörg/s\\040x/a rw - tmpfs x rw"
    assert shutdown.mounts_below(line, Path("/home/jörg/s x")) == [Path("/home/jörg/s x/a")]


def test_mounts_are_found_deepest_first() -> None:
    """A blank in a path is an octal number in the kernel's table."""
    lines = [f"1 1 0:1 / {point} rw - tmpfs x rw" for point in ("/s/a", "/s/a/b\\040c", "/t", "/s")]
    found = shutdown.mounts_below("\n".join(lines), Path("/s"))
    assert found == [Path("/s/a/b c"), Path("/s/a")]


def test_an_answer_that_breaks_off_is_a_connection_that_failed(tmp_path: Path) -> None:
    """`down` waits for pods while the API server may die: it must go on, not raise."""
    pair = Authority(tmp_path).issue("server", "s", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(120)
        thread = threading.Thread(target=_break_off, args=(listener, context))
        thread.start()
        try:
            url = f"https://127.0.0.1:{listener.getsockname()[1]}"
            api = KubeApi(url, tmp_path / "ca.crt", "t", timeout=120.0)
            with pytest.raises(OSError, match="GET /api"):
                api.get("/api")
        finally:
            thread.join(120)


def _break_off(listener: socket.socket, context: ssl.SSLContext) -> None:
    connection, _ = listener.accept()
    with context.wrap_socket(connection, server_side=True) as tls:
        tls.recv(1 << 16)
        tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        with contextlib.suppress(OSError):
            tls.unwrap()
