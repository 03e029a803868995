"""A Slurm of one node, controller and compute node in one, in a folder of its own: started for tests, stopped after them."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
# The processors, memory and GPUs are only said to be there: jobs share what the machine has.
CONFIGURATION = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=bf_interval=1,sched_interval=1
GresTypes=gpu
MailProg=/bin/true
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=30
MinJobAge=3600
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
NodeName={host} NodeAddr=127.0.0.1 Port={node_port} CPUs=4 RealMemory=64000 Gres=gpu:4
PartitionName=main Nodes={host} Default=YES PriorityTier=1
PartitionName=urgent Nodes={host} PriorityTier=2
"""


def why_not() -> str | None:
    """Why no Slurm can or should be started here; None if one can."""
    missing = [program for program in PROGRAMS if not shutil.which(program, path=search_path())]
    if missing:
        return f"not installed: {', '.join(missing)} (Debian: slurm-wlm and munge)"
    if os.geteuid() != 0:
        return "only root can start a node that runs jobs"
    configured = [file for file in ("/etc/slurm/slurm.conf", "/etc/slurm-llnl/slurm.conf") if Path(file).exists()]
    configured += [f"SLURM_CONF={os.environ['SLURM_CONF']}"] if "SLURM_CONF" in os.environ else []
    if configured:
        return f"this machine has a Slurm of its own ({configured[0]}), which the tests leave alone"
    return None


def search_path() -> str:
    """The folders of programs, and those of root's, which a shell may lack."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def wait_for(what: str, ready: Callable[[], bool], seconds: float, every: float = 0.5) -> None:
    """Until `ready()`; AssertionError that says what never came."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"{what}: not after {seconds} seconds"
        time.sleep(every)


@dataclass(frozen=True)
class Node:
    """A running Slurm; `environment` leads its programs to it."""

    folder: Path
    environment: dict[str, str]

    def ask(self, *command: str) -> str:
        """Output of one of Slurm's programs."""
        done = subprocess.run(command, env=self.environment, text=True, capture_output=True, timeout=60)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}{self.logs()}"
        return done.stdout.strip()

    def jobs(self) -> list[dict[str, str]]:
        """What Slurm knows of every job, the finished ones too, oldest first."""
        lines = self.ask("scontrol", "show", "job", "--oneliner").splitlines()
        return sorted((dict(re.findall(r"(\w+)=(\S*)", line)) for line in lines), key=lambda job: int(job.get("JobId", 0)))

    def logs(self) -> str:
        """The last lines of what the daemons wrote."""
        files = sorted(self.folder.glob("*.log"))
        return "".join(f"\n--- {file.name}\n{file.read_text(errors='replace')[-2000:]}" for file in files)


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nothing listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def daemon(node: Node, *command: str) -> Iterator[None]:
    """A program that runs in the foreground of a process of its own, and is ended by its process number."""
    with open(node.folder / f"{command[0]}.log", "w") as output:
        process = subprocess.Popen(command, env=node.environment, stdout=output, stderr=output, start_new_session=True)
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def slurm_node(folder: Path) -> Iterator[Node]:
    """Start munge, the controller and the node; cancel what still runs and stop them at the end."""
    host = socket.gethostname().split(".")[0]
    controller_port, node_port = free_ports(2)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    text = CONFIGURATION.format(host=host, folder=folder, controller_port=controller_port, node_port=node_port)
    (folder / "slurm.conf").write_text(text)
    for k in range(4):
        (folder / f"gpu{k}").touch()
    (folder / "gres.conf").write_text(f"NodeName={host} Name=gpu File={folder}/gpu[0-3]\n")
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(128))
    # Snakemake's job steps start srun without any variable SLURM_*, SLURM_CONF among them. On a real cluster the configuration
    # is where programs look by themselves; here srun has to be told again.
    srun = folder / "bin/srun"
    srun.parent.mkdir()
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun", path=search_path())} "$@"\n')
    srun.chmod(0o755)
    settings = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": f"{srun.parent}{os.pathsep}{search_path()}"}
    node = Node(folder, {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SBATCH_"))} | settings)
    munge = [f"--{name}={folder}/munge.{suffix}" for name, suffix in MUNGE_FILES.items()]
    with ExitStack() as stack:
        stack.enter_context(daemon(node, "munged", "--foreground", "--force", *munge))
        wait_for("munge's socket", (folder / "munge.socket").exists, 30)
        stack.enter_context(daemon(node, "slurmctld", "-D"))
        stack.enter_context(daemon(node, "slurmd", "-D", "-N", host))
        wait_for("an idle node", lambda: answers(node, "sinfo", "-h", "-o", "%T") == "idle", 60)
        stack.callback(stop_jobs, node)
        yield node


MUNGE_FILES = {"socket": "socket", "key-file": "key", "pid-file": "pid", "seed-file": "seed"}


def answers(node: Node, *command: str) -> str | None:
    """Output of a program, None while the controller does not answer it."""
    done = subprocess.run(command, env=node.environment, text=True, capture_output=True, timeout=60)
    return done.stdout.split("\n")[0].strip() if done.returncode == 0 else None


def stop_jobs(node: Node) -> None:
    """Cancel every job of this Slurm; end what it lost sight of, as it does of processes whose parent ended."""
    node.ask("scancel", "--user=root")
    wait_for("the end of all jobs", lambda: not node.ask("squeue", "-h"), 90)
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if "SLURM_JOB_ID" in process.environ() and process.environ().get("SLURM_CONF") == node.environment["SLURM_CONF"]:
                process.kill()
