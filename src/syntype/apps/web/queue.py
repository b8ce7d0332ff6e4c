"""The job queue: jobs wait in order in the database; a thread starts them and records how they end.

All state is in the database and on disk, so the server may be killed at any moment: the next one finds jobs that still run by their
locks, or asks the cluster to which they were given (elsewhere.py); it starts jobs that were killed with it again, with ``--resume`` where
the command has it.

A job's result is a folder whose ``run.json`` holds the job's own run id. A folder of the same name without it was made by somebody else:
no job goes on in it, shows it or deletes it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Row, Select, func, insert, select, update

from syntype.apps.web.elsewhere import BusyError, ClusterProcess, Elsewhere
from syntype.apps.web.languages import ENGLISH, gettext, in_language
from syntype.apps.web.processes import JobProcess
from syntype.apps.web.requests import JobRequest, parse_request
from syntype.apps.web.reviews import Reviews
from syntype.apps.web.store import ACTIVE, Store, jobs, starters
from syntype.apps.web.trash import IN_TRASH
from syntype.apps.web.uploads import Uploads
from syntype.apps.web.words import value_in_words
from syntype.apps.web.workspace import MARKS, NameTakenError, Workspace
from syntype.cluster import RESUME, Cluster
from syntype.errors import InputError, SyntypeError, UnknownNameError, UserError
from syntype.files import disk_problem
from syntype.ownership import discard_run, is_empty

__all__ = ["MAX_STARTS", "Queue", "run_id"]

MAX_STARTS = 3
"""A job whose process was killed this many times is not started again: it may need more memory than there is."""
_TICK = 0.5
_JOBS = select(jobs, starters.c.name.label("by")).outerjoin(starters, starters.c.job == jobs.c.id)
_log = logging.getLogger("syntype.studio")


class Queue:
    """The jobs of a workspace.

    Args:
        at_once: how many run at the same time on this machine.
        cluster: where they run instead, and how many at the same time; None, or ``here``: on this machine.

    Raises:
        UnsupportedError: submitit or Slurm is missing.

    Attributes:
        entering: held while a job is created or taken up again; who holds it can rely on what waits and runs.
    """

    def __init__(
        self, store: Store, workspace: Workspace, reviews: Reviews, uploads: Uploads, at_once: int = 1, cluster: Cluster | None = None
    ) -> None:
        self._store, self._workspace, self._reviews, self._uploads = store, workspace, reviews, uploads
        self._elsewhere = None if cluster is None or cluster.executor == "here" else Elsewhere(cluster, workspace.root / "jobs")
        self._at_once = at_once if self._elsewhere is None else self._elsewhere.at_once
        self._processes: dict[int, JobProcess] = {}
        self._stops_sent: dict[int, int] = {}
        self._wake, self._ending = threading.Event(), False
        self.entering = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="queue", daemon=True)

    def start(self) -> None:
        """Start the queue's thread; it continues the jobs of an earlier server."""
        self._thread.start()

    def close(self, seconds: float = 60) -> None:
        """Stop running jobs of this machine with their work saved, so that the next server can continue them; wait at most this many seconds.

        Those of a cluster go on.
        """
        self._ending = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        own = {number: process for number, process in self._processes.items() if not process.outlives}
        unstopped, end = list(own.values()), time.monotonic() + seconds
        while time.monotonic() < end and any(process.is_alive() for process in own.values()):
            unstopped = [process for process in unstopped if not process.stop()]  # again, if it was still starting
            time.sleep(0.1)
        for number, process in own.items():
            if not process.is_alive() and process.exit_code() != 0:
                self._set(number, status="waiting", starts=0)  # stopped by this server, not by an error

    def add(self, request: JobRequest, by: str | None = None) -> int:
        """Put a job at the end of the queue; returns its number.

        Args:
            by: the name of the account that starts it.

        Raises:
            UnknownNameError, InputError: it needs what is not there, or its result's name is taken.
        """
        with self.entering, self._uploads.lock if (upload := request.consumed_upload()) else nullcontext():
            request.command(self._workspace)  # errors are reported now, not when the job starts
            self._workspace.free(request.place, request.slug)
            if upload:
                self._uploads.keep_refused(upload)
            with self._store.writing() as connection:
                if (other := connection.scalar(_makers(request.place, request.slug))) is not None:
                    raise NameTakenError(
                        gettext("job {job} already makes {name}", job=str(other), name=repr(request.slug)), gettext("Choose another name.")
                    )
                values = {"kind": request.kind, "request": request.model_dump(mode="json"), "place": request.place, "slug": request.slug}
                number = connection.execute(insert(jobs).values(**values, status="waiting", created=time.time()).returning(jobs.c.id)).scalar_one()
                if by is not None:
                    connection.execute(insert(starters).values(job=number, name=by))
        self._wake.set()
        return int(number)

    def get(self, number: int) -> Row[Any]:
        """One job; ``by``: the account that has started it.

        Raises:
            UnknownNameError: there is none of this number.
        """
        with self._store.reading() as connection:
            row = connection.execute(_JOBS.where(jobs.c.id == number)).one_or_none()
        if row is None:
            raise UnknownNameError("job", str(number), ())
        return row

    def list(self, limit: int, before: int | None = None) -> list[Row[Any]]:
        """Jobs, newest first; ``before``: only those with smaller numbers."""
        wanted = _JOBS.order_by(jobs.c.id.desc()).limit(limit)
        with self._store.reading() as connection:
            return list(connection.execute(wanted if before is None else wanted.where(jobs.c.id < before)))

    def ahead(self, number: int) -> int:
        """How many jobs come before a waiting one."""
        with self._store.reading() as connection:
            return int(connection.scalar(select(func.count()).where(jobs.c.status.in_(ACTIVE), jobs.c.id < number)) or 0)

    def cancel(self, number: int) -> None:
        """Remove a waiting job, or stop a running one with its work saved; the third call kills it.

        Raises:
            UserError: it has ended already.
        """
        with self._store.writing() as connection:
            row = connection.execute(select(jobs).where(jobs.c.id == number).with_for_update()).one_or_none()
            if row is None:
                raise UnknownNameError("job", str(number), ())
            if row.status not in ACTIVE:
                raise UserError(
                    gettext("job {number} is {status} already and cannot be cancelled.", number=str(number), status=value_in_words(row.status))
                )
            change: dict[str, Any] = {"cancel": row.cancel + 1}
            if row.status == "waiting":
                change |= {"status": "cancelled", "ended": time.time(), "message": "cancelled before it started"}
            connection.execute(update(jobs).where(jobs.c.id == number).values(**change))
        self._wake.set()

    def resume(self, number: int) -> None:
        """Put a cancelled or failed job into the queue again; it continues where it stopped.

        Raises:
            UserError: it is not cancelled or failed, its kind cannot go on, or its name was taken since.
        """
        with self.entering:
            row = self.get(number)
            if row.status not in ("cancelled", "failed"):
                raise UserError(
                    gettext(
                        "job {number} is {status}. Only a job that was cancelled or has failed can be resumed.",
                        number=str(number),
                        status=value_in_words(row.status),
                    )
                )
            if gone := [word for word, value in row.request.items() if isinstance(value, str) and value.startswith(IN_TRASH)]:
                raise UserError(
                    gettext(
                        "job {number} needs a {gone} that was deleted. Restore it on the page Storage, or create a new job.",
                        number=number,
                        gone=gone[0],
                    )
                )
            request = parse_request(row.request)
            if not request.resumable:
                raise UserError(
                    gettext(
                        "job {number} cannot be resumed: {kind} always starts from the beginning. Create a new job.", number=number, kind=row.kind
                    )
                )
            self._require_name(row)
            with self._uploads.lock if request.consumed_upload() else nullcontext():
                request.command(self._workspace)  # what it needs is still there
                with self._store.writing() as connection:
                    if (other := connection.scalar(_makers(row.place, row.slug))) is not None:
                        raise InputError(
                            gettext("job {other} makes {name} now", other=other, name=repr(row.slug)),
                            gettext("Wait until it has ended, or create a new job under another name."),
                        )
                    again = {"status": "waiting", "cancel": 0, "starts": 0, "message": None, "ended": None}
                    connection.execute(update(jobs).where(jobs.c.id == number).values(**again))
        self._wake.set()

    def result_folder(self, job: Row[Any]) -> Path | None:
        """The folder that a job has made or is making; None if it has made none yet, or if what lies there is not the job's."""
        folder = self._workspace.place(job.place, job.slug)
        mine = not folder.is_symlink() and self._workspace.manifest(job.place, job.slug).get("run_id") == run_id(job)
        return folder if mine else None

    def _require_name(self, job: Row[Any]) -> None:
        """Raise ``InputError`` if something that the job has not made lies where its result goes."""
        folder = self._workspace.place(job.place, job.slug)
        if folder.is_symlink() or (folder.exists() and self.result_folder(job) is None and not (folder.is_dir() and is_empty(folder))):
            raise InputError(
                gettext("the name {name} has been taken since this job was created", name=repr(job.slug)),
                gettext("Create a new job under another name."),
            )

    def process(self, number: int) -> JobProcess:
        """The process of a job: for its log, and what it does before its command has written anything."""
        folder = self._workspace.root / "jobs" / str(number)
        return self._processes.get(number) or (JobProcess(folder) if self._elsewhere is None else ClusterProcess(folder, self._elsewhere))

    def _work(self) -> None:
        while not self._ending:
            try:
                self._step()
                self._reviews.apply_rested()
            except Exception as error:  # a full disk or a database that is away for a moment must not end the queue
                if (problem := disk_problem(error, self._workspace.root)) is not None:
                    _log.warning("the queue waits: %s", problem)
                else:
                    _log.exception("error in the queue; it continues")
                self._wake.wait(2)
            self._wake.wait(_TICK)
            self._wake.clear()

    def _step(self) -> None:
        with self._store.reading() as connection:
            running = list(connection.execute(select(jobs).where(jobs.c.status == "running").order_by(jobs.c.id)))
            waiting = list(connection.execute(select(jobs).where(jobs.c.status == "waiting").order_by(jobs.c.id).limit(self._at_once)))
        room = self._at_once
        for row in running:
            process = self._processes.setdefault(row.id, self.process(row.id))
            if not process.is_alive():
                self._step_of(row, self._ended, process)
                continue
            room -= 1
            if row.cancel > self._stops_sent.get(row.id, 0) and process.stop(at_once=row.cancel >= 3):
                self._stops_sent[row.id] = row.cancel
        if self._elsewhere is not None and not self._elsewhere.takes_jobs:
            room = 0
        for row in waiting[: max(0, room)]:
            self._step_of(row, self._begin)

    def _step_of(self, row: Row[Any], step: Callable[..., None], *more: Any) -> None:
        """Do a step of one job. If it cannot be done the job has failed, and the others go on."""
        try:
            step(row, *more)
        except (SyntypeError, OSError) as error:
            self._end(row.id, "failed", str(disk_problem(error, self._workspace.root) or error))

    def _begin(self, row: Row[Any]) -> None:
        if row.cancel:  # cancelled while an earlier server was shutting down
            self._end(row.id, "cancelled", "its work so far is kept")
            return
        request = parse_request(row.request)
        self._require_name(row)
        command = [*request.command(self._workspace), f"--out={self._workspace.place(row.place, row.slug)}", "--json"]
        for collection in request.reads():
            self._reviews.apply(collection)
        if (left := self.result_folder(row)) is not None:
            if request.resumable:
                command.append("--resume")
            else:
                discard_run(left, request.stage, run_id(row))  # left by a process that was killed
        process = self.process(row.id)
        process.clear()  # otherwise a server that is killed right now would leave the end of an earlier start as that of this one
        with self._store.writing() as connection:
            begun = {"status": "running", "starts": row.starts + 1, "started": row.started or time.time()}
            if not connection.execute(update(jobs).where(jobs.c.id == row.id, jobs.c.status == "waiting").values(**begun)).rowcount:
                return  # cancelled at this moment
        self._processes[row.id] = process
        try:
            process.start(command, run_id(row))
        except BusyError:  # later
            self._set(row.id, status="waiting", starts=row.starts)

    def _ended(self, row: Row[Any], process: JobProcess) -> None:
        request, code, folder = parse_request(row.request), process.exit_code(), self.result_folder(row)
        run = {} if folder is None else self._workspace.manifest(row.place, row.slug)
        told: dict[str, Any] = run.get("result") or {}
        if code in (0, None) and folder is not None and run.get("status") == "finished" and (folder / MARKS[row.place]).is_file():
            if (upload := request.consumed_upload()) is not None:
                if row.kind == "import":
                    with suppress(OSError, SyntypeError):  # the collection is whole without it
                        self._uploads.tell_refused(upload, folder)
                if not told.get("num_refused"):
                    self._uploads.drop_read(upload, row.id)
            self._end(row.id, "finished", None, process.result() or told)
            return
        if code == 0:
            if not process.settled():
                return  # looked at again at the next step
            self._end(row.id, "failed", "its result is not where the job wrote it: it was moved, deleted or replaced. Create a new job.")
        elif row.cancel:
            self._end(row.id, "cancelled", "its work so far is kept" if request.resumable else None, told)
        elif code in (None, RESUME) and (told_off := process.given_up()) is not None:
            self._end(row.id, "cancelled", told_off)
        elif code == RESUME and (request.resumable or row.starts < MAX_STARTS):  # its time is up, or its machine is needed for something else
            self._set(row.id, status="waiting", starts=0 if request.resumable else row.starts)
        elif code == RESUME:
            self._end(
                row.id, "failed", f"it was stopped {row.starts} times before its end. Give jobs more minutes in the cluster file, then resume it."
            )
        elif code is None and row.starts < MAX_STARTS:
            self._set(row.id, status="waiting")
        elif code is None:
            self._end(row.id, "failed", process.cause(row.starts))
        else:
            self._end(row.id, "failed", process.error_message() or told.get("error") or process.last_line() or _unexplained(code))
        if code != 0 and folder is not None and not request.resumable and not (folder / MARKS[row.place]).exists():
            with suppress(SyntypeError, OSError):  # then it is discarded when the name is needed again
                discard_run(folder, request.stage, run_id(row))  # an unfinished collection is of no use, and its name must become free

    def _end(self, number: int, status: str, message: str | None, result: dict[str, Any] | None = None) -> None:
        self._processes.pop(number, None)
        self._stops_sent.pop(number, None)
        with in_language(ENGLISH):  # it is translated when it is shown
            shown = None if message is None else self._workspace.show(message)
        self._set(number, status=status, message=shown, result=result, ended=time.time())

    def _set(self, number: int, **values: Any) -> None:
        with self._store.writing() as connection:
            connection.execute(update(jobs).where(jobs.c.id == number).values(**values))


def run_id(job: Row[Any]) -> str:
    """What ``run.json`` of a job's result says about who made it: the same after a restart, and never that of another job."""
    return f"job-{job.id}-{job.created:.6f}"


def _unexplained(code: int) -> str:
    return f"ended with exit code {code} and without a message, perhaps because the disk is full. Free some space, then try again."


def _makers(place: str, slug: str) -> Select[tuple[int]]:
    """Numbers of the waiting and running jobs whose result gets this name."""
    return select(jobs.c.id).where(jobs.c.place == place, jobs.c.slug == slug, jobs.c.status.in_(ACTIVE))
