"""A Slurm cluster of two nodes on this machine, each with its own network address, host name and processes.

Needs root, Debian's slurm-wlm and iproute2.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")
NODES = {"gift1": "10.213.7.11", "gift2": "10.213.7.12"}
CONTROLLER, BRIDGE = "10.213.7.1", "giftbr0"
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged", "nsenter", "unshare", "ip")
SETTINGS = """
ClusterName=gift
SlurmctldHost={host}({controller})
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
"""
NODE = "NodeName={name} NodeHostname={name} NodeAddr={address} CPUs=2 RealMemory=1000 State=UNKNOWN\n"
# The node's processes see its own host name, addresses and process numbers, and know the other node by its name.
START_NODE = """
hostname {name}
mount --bind {folder}/hosts /etc/hosts
until ip link show node0 >/dev/null 2>&1; do sleep 0.1; done
ip link set lo up
ip addr add {address}/24 dev node0
ip link set node0 up
exec slurmd -D -N {name} -f {folder}/slurm.conf
"""
NEW_NAMESPACES = ("unshare", "--net", "--uts", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")


@contextmanager
def slurm_nodes(folder: Path) -> Iterator[dict[str, str]]:
    """Yields the environment in which sbatch uses the cluster. The test is skipped where it cannot be started."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root and the programs {', '.join(missing or PROGRAMS)} (Debian: slurm-wlm, iproute2)")
    (folder / "state").mkdir()
    _write_settings(folder)
    environment = {"HOME": os.environ["HOME"], "PATH": _path(), "SLURM_CONF": str(folder / "slurm.conf")}
    with ExitStack() as cluster:
        _call("ip", "link", "add", BRIDGE, "type", "bridge")
        cluster.callback(_call, "ip", "link", "delete", BRIDGE)
        _call("ip", "addr", "add", f"{CONTROLLER}/24", "dev", BRIDGE)
        _call("ip", "link", "set", BRIDGE, "up")
        munge = [f"--{name}={folder}/munge.{name.split('-')[0]}" for name in ("key-file", "socket", "pid-file")]
        munge += [f"--log-file={folder}/munge.log", f"--seed-file={folder}/munge.seed"]
        cluster.enter_context(_running("munged", "--foreground", "--force", *munge))
        cluster.enter_context(_running("slurmctld", "-D", "-f", str(folder / "slurm.conf")))
        for number, (name, address) in enumerate(NODES.items()):
            script = START_NODE.format(name=name, address=address, folder=folder)
            node = cluster.enter_context(_running(*NEW_NAMESPACES, "bash", "-ec", script))
            _connect(node, f"giftveth{number}")
        _wait_for_nodes(environment)
        yield environment


def _write_settings(folder: Path) -> None:
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    host = os.uname().nodename
    settings = SETTINGS.format(host=host, controller=CONTROLLER, folder=folder)
    nodes = "".join(NODE.format(name=name, address=address) for name, address in NODES.items())
    partition = "PartitionName=main Nodes=ALL Default=YES State=UP\n"
    (folder / "slurm.conf").write_text(settings + nodes + partition)
    (folder / "cgroup.conf").write_text("CgroupPlugin=disabled\n")
    names = [f"{address} {name}" for name, address in ({host: CONTROLLER} | NODES).items()]
    (folder / "hosts").write_text("\n".join(["127.0.0.1 localhost", *names, ""]))


def _connect(node: subprocess.Popen[bytes], link: str) -> None:
    """Gives the node one end of a virtual cable, and the bridge the other."""
    (child,) = _wait_for(lambda: Path(f"/proc/{node.pid}/task/{node.pid}/children").read_text().split(), "a node")
    _call("ip", "link", "add", link, "type", "veth", "peer", "name", "node0", "netns", child)
    _call("ip", "link", "set", link, "master", BRIDGE, "up")


def _wait_for_nodes(environment: dict[str, str]) -> None:
    def idle() -> bool:
        command = ["sinfo", "--noheader", "--Node", "--format=%t"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
        return done.stdout.split() == ["idle"] * len(NODES)

    _wait_for(idle, "the nodes")


def _wait_for(condition: Callable[[], T], what: str) -> T:
    end = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < end, f"waited 60 s for {what}"
        time.sleep(0.1)
    return found


@contextmanager
def _running(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env=os.environ | {"PATH": _path()}, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()  # unshare ignores SIGTERM
        process.wait()


def _call(*command: str) -> None:
    subprocess.run(command, check=True, env=os.environ | {"PATH": _path()})


def _path() -> str:
    return f"{os.environ['PATH']}{os.pathsep}/usr/sbin{os.pathsep}/sbin"
