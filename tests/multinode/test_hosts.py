"""Hosts are apart from each other, and nothing of them is left, however their maker ends."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from namespaces import Network, running_network, why_not
from waiting import wait_until
from whole_cluster import running_hosts

_MAKER = """
    import sys
    from pathlib import Path
    from namespaces import running_network

    with running_network(Path(sys.argv[1])) as network:
        host = network.add("lone")
        host.start("sleep", "1000", log="sleep")
        print(network.bridge, host.pid, flush=True)
        sys.stdin.read()
"""


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    if reason := why_not():
        pytest.skip(reason)
    with running_network(tmp_path) as network:
        yield network


def test_hosts_share_nothing_but_the_network(network: Network) -> None:
    one, two = network.add("one"), network.add("two")
    for folder in (one.home, one.temporary, "/dev/shm", "/var/tmp"):
        assert one.run("touch", f"{folder}/mark").returncode == 0
        assert one.path(f"{folder}/mark").exists()
        assert not two.path(f"{folder}/mark").exists()
        assert not Path(f"{folder}/mark").exists()
    refused = one.run("touch", f"{sys.prefix}/mark", "/usr/mark")
    assert refused.stdout.count("Read-only file system") == 2
    assert one.run("hostname").stdout == "one\n"
    for asking in (one, two):
        ask = "import socket; print(socket.gethostbyname('one'))"
        assert asking.run("python", "-c", ask).stdout == f"{one.address}\n"
    ask = "import socket; socket.gethostbyname('example.org')"
    assert "gaierror" in one.run("python", "-c", ask, timeout_s=5).stdout
    assert "sleep" not in two.run("sh", "-c", "cat /proc/[0-9]*/comm").stdout
    answer = f"import socket; socket.create_server(('{one.address}', 80)).accept()"
    server = one.start("python", "-c", answer, log="server")
    ask = f"import socket; socket.create_connection(('{one.address}', 80))"
    wait_until(lambda: two.run("python", "-c", ask).returncode == 0, "an answer")
    server.wait(20)


def test_a_power_cut_ends_all_processes_of_a_host(network: Network) -> None:
    one, two = network.add("one"), network.add("two")
    ended, going = (host.start("sleep", "1000", log="sleep") for host in (one, two))
    wait_until(lambda: "sleep" in one.run("ps", "ax").stdout, "the program")
    one.end()
    ended.wait(20)
    assert one.processes() == set()
    assert going.poll() is None
    two.end()
    going.wait(20)


def test_nothing_outlives_a_maker_that_is_killed(network: Network, tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(_MAKER), str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as maker:
        assert maker.stdout is not None
        bridge, pid = maker.stdout.readline().split()
        assert bridge != network.bridge
        assert Path("/proc", pid).exists()
        maker.kill()
    wait_until(lambda: not Path("/proc", pid).exists(), "the host's end")
    assert Path("/sys/class/net", bridge).exists()
    with running_network(tmp_path) as following:
        assert following.bridge == bridge
        assert following.left() == {bridge}
    assert not Path("/sys/class/net", bridge).exists()


def test_hosts_on_the_loopback_network_end_with_all_their_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whole_cluster.why_not", lambda: "for a test")
    monkeypatch.delenv("CI", raising=False)
    with running_hosts(tmp_path) as hosts:
        assert "for a test" in hosts.kind
        one, two = hosts.add("one"), hosts.add("two")
        assert one.address != two.address
        assert one.run("sh", "-c", "echo $HOME").stdout.strip() == one.home
        going = one.start("sh", "-c", "sleep 1000 & sleep 1000", log="sleep")
        wait_until(lambda: len(one.processes()) == 3, "three processes")
    going.wait(20)
    assert hosts.left() == set()


def test_where_hosts_must_be_apart_there_are_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whole_cluster.why_not", lambda: "for a test")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="for a test"), running_hosts(tmp_path):
        pass
