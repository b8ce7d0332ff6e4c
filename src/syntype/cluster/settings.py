"""Where jobs run: the settings of a cluster file, such as ``lab.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from syntype.errors import checks_arguments
from syntype.recipe import Settings, read_yaml

__all__ = ["Cluster", "read_cluster"]


class Cluster(Settings):
    """Where jobs run, and what each of them may use. A cluster file holds these settings, one ``name: value`` a line; each may be left out."""

    executor: Literal["here", "processes", "slurm"] = "here"
    """``here``: one job after the other, in this process. ``processes``: several at a time, on this machine. ``slurm``: on a cluster."""
    workers: int = Field(2, ge=1)
    """``processes``: number of jobs at the same time."""
    partition: str | None = None
    """Slurm: the partition. If left out, the site's default."""
    account: str | None = None
    """Slurm: the account to which the time is charged."""
    qos: str | None = None
    """Slurm: the quality of service."""
    constraint: str | None = None
    """Slurm: what the nodes must have, for example ``a100``."""
    minutes: int = Field(240, ge=1)
    """Longest time of one job. A job that needs more is warned ``warning_seconds`` before, saves its work, and is put into the queue again."""
    warning_seconds: int = Field(120, ge=1)
    """Slurm: seconds before the end of its time at which a job is warned. They must suffice to finish a step and to write a checkpoint."""
    gpus: int = Field(0, ge=0)
    """Graphics cards of each job."""
    cpus: int = Field(1, ge=1)
    """Processor cores of each job, and threads with which it computes."""
    memory_gb: float | None = Field(None, gt=0)
    """Slurm: memory of each job, in gigabytes. If left out, the site's default."""
    parallel: int = Field(64, ge=1)
    """Slurm: number of jobs of one array that may run at the same time."""
    most_queued: int = Field(500, ge=1)
    """Slurm: number of jobs that may wait and run at the same time, and size of an array at most. The site limits both: ``MaxSubmitJobs`` (``sacctmgr
    show assoc``) and ``MaxArraySize`` (``scontrol show config``). Further jobs are submitted when earlier ones have ended."""
    retries: int = Field(3, ge=0)
    """A job whose process or node died is started again this many times. One that ended with an error is not, as it would fail again."""
    poll_seconds: float = Field(5.0, gt=0)
    """Time between two looks at the jobs."""
    setup: tuple[str, ...] = ()
    """Slurm: lines of shell that run before each job, for example ``module load cuda`` or ``source ~/venv/bin/activate``."""
    environment: dict[str, str] = Field(default_factory=dict)
    """Environment variables of each job, name -> value."""
    python: str | None = None
    """Slurm: the command that starts Python on the nodes, for example ``apptainer exec --nv syntype.sif python``. If left out, the Python that is
    running now, which must lie on a disk that the nodes share."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Slurm: further options of ``sbatch``, name without dashes -> value, for example ``mail-user: me@example.org``."""

    @field_validator("environment", mode="before")
    @classmethod
    def _texts(cls, values: Any) -> Any:
        """In YAML ``OMP_NUM_THREADS: 2`` is a number, but variables are texts."""
        return {str(key): str(value) for key, value in values.items()} if isinstance(values, dict) else values


@checks_arguments
def read_cluster(path: Path | str) -> Cluster:
    """Read a cluster file.

    Args:
        path: A file in YAML with settings of ``Cluster``.

    Returns:
        the settings.

    Raises:
        RecipeError: The file cannot be read, or a setting is unknown or out of range. The message names it and lists the known ones.

    Example:
        >>> import pathlib, syntype
        >>> _ = pathlib.Path("lab.yaml").write_text("executor: processes")
        >>> syntype.read_cluster("lab.yaml").executor
        'processes'
    """
    return Cluster.parse(read_yaml(Path(path), Cluster), str(path))
