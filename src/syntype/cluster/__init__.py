"""Where jobs run: in this process, in several processes of this machine, or on a cluster with Slurm, all by the same calls."""

from syntype.cluster.jobs import Command, Job, JobError
from syntype.cluster.preemption import RESUME, Preempted
from syntype.cluster.running import JobState, cancel_jobs, job_states, run_jobs
from syntype.cluster.settings import Cluster, read_cluster

__all__ = ["RESUME", "Cluster", "Command", "Job", "JobError", "JobState", "Preempted", "cancel_jobs", "job_states", "read_cluster", "run_jobs"]
