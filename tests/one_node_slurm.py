"""A Slurm of one machine, in a folder of its own: controller, two nodes (or one, where Debian's build allows no more), and munge between them."""

from __future__ import annotations

import getpass
import os
import platform
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NEEDED = ("munged", "mungekey", "slurmctld", "slurmd", "srun", "sbatch", "squeue", "scontrol", "scancel", "sinfo")

CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdSpoolDir={folder}/spool-%n
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=bf_interval=5,sched_interval=2,batch_sched_delay=0
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
SlurmdTimeout=30
KillWait=5
MinJobAge=300
JobRequeue=1
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """Why there can be no Slurm here; None if there can."""
    if getpass.getuser() != "root":
        return "only root may start Slurm's daemons"
    absent = [name for name in NEEDED if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    return f"{', '.join(absent)} not on this machine (Debian: slurm-wlm, munge)" if absent else None


def free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class OneNodeSlurm:
    """The daemons, which ``close`` ends.

    Attributes:
        environment: For commands that speak with this Slurm.
        nodes: Names of the nodes.
    """

    def __init__(self, folder: Path, num_nodes: int = 2) -> None:
        self.folder = folder
        self.nodes = [f"node{number}" for number in range(num_nodes)]
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf"), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        host, ports = platform.node().split(".")[0], free_ports(1 + num_nodes)
        for name in ("state", *(f"spool-{node}" for node in self.nodes)):
            (folder / name).mkdir(parents=True)
        nodes = "\n".join(
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 RealMemory=1000 State=UNKNOWN"
            for name, port in zip(self.nodes, ports[1:], strict=True)
        )
        (folder / "slurm.conf").write_text(CONFIG.format(host=host, controller=ports[0], folder=folder, nodes=nodes))
        subprocess.run(["mungekey", "--create", "--keyfile", str(folder / "munge.key")], check=True, env=self.environment)
        self._start("munged", "--foreground", "--force", f"--key-file={folder}/munge.key", f"--socket={folder}/munge.socket",
                    f"--pid-file={folder}/munge.pid", f"--log-file={folder}/munge.log", f"--seed-file={folder}/munge.seed")  # fmt: skip
        until = time.monotonic() + 20
        while not (folder / "munge.socket").exists() and time.monotonic() < until:
            time.sleep(0.1)
        self.start_controller()
        for node in self.nodes:
            self.start_node(node)
        self.wait(lambda: self.state_of_nodes() == {"idle"}, "the nodes are not idle")

    def _start(self, program: str, *arguments: str, name: str = "") -> None:
        with (self.folder / f"{name or program}.out").open("ab") as log:
            self.daemons[name or program] = subprocess.Popen(
                [program, *arguments], env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def start_controller(self) -> None:
        self._start("slurmctld", "-D")

    def stop_controller(self) -> None:
        self.daemons["slurmctld"].terminate()
        self.daemons.pop("slurmctld").wait(timeout=30)

    def start_node(self, node: str) -> None:
        self._start("slurmd", "-D", "-N", node, name=node)

    def run(self, *command: str) -> str:
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True).stdout

    def state_of_nodes(self) -> set[str]:
        found = subprocess.run(["sinfo", "-h", "-N", "-o", "%t"], env=self.environment, capture_output=True, text=True, check=False)
        return set(found.stdout.split())

    def wait(self, condition, what: str, seconds: float = 60) -> None:
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, f"{what}\n{self.logs()}"
            time.sleep(0.3)

    def logs(self) -> str:
        files = [*sorted(self.folder.glob("*.log")), *sorted(self.folder.glob("*.out"))]
        return "\n".join(f"== {path.name}\n{path.read_text(errors='replace')[-1500:]}" for path in files)

    def close(self) -> None:
        subprocess.run(["scancel", "--user=root"], env=self.environment, capture_output=True, check=False)
        for name in [*self.nodes, "slurmctld", "munged"]:
            daemon = self.daemons.pop(name, None)
            if daemon is not None:
                daemon.terminate()
                try:
                    daemon.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    os.killpg(daemon.pid, signal.SIGKILL)
                    daemon.wait()


@contextmanager
def one_node_slurm(folder: Path) -> Iterator[OneNodeSlurm]:
    slurm = OneNodeSlurm(folder)
    try:
        yield slurm
    finally:
        slurm.close()
