"""Download of images that a source names by their addresses: a few at a time from each host, again after passing faults, and resumable.

Rules of HTTP: RFC 9110 (status codes, Retry-After, Content-Length).
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from syntype.collection.answers import file_name, kind_of_text, seconds_to_wait
from syntype.collection.decoding import read_image
from syntype.collection.public_addresses import NotAllowedError, checked_request
from syntype.collection.sources.base import Entry, Refused
from syntype.collection.sources.image_files import is_there
from syntype.errors import DiskError, InputError, shortened
from syntype.files import atomic_write, disk_problem
from syntype.run import Run

if TYPE_CHECKING:
    import ssl

    import httpx2

__all__ = ["DownloadRules", "Downloader", "failures_told", "is_absent"]

_JOURNAL = "downloads.jsonl"
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Status codes after which another try is made."""
_REDIRECTS = 5
_STATUS = {401: "needs a password", 403: "is forbidden", 404: "is not there", 410: "is no longer there", 451: "is withheld for legal reasons"}


@dataclass(frozen=True)
class DownloadRules:
    """How images are downloaded.

    Attributes:
        per_host: downloads from one host at the same time.
        tries: tries for each image.
        timeout: seconds that a connection, or the next bytes, may take.
        seconds: that one image may take in all.
        max_bytes: size of one image.
        max_wait: seconds that a host may ask to wait; it is given up if it asks for more.
        pause: seconds before the second try; doubled before each further one.
        give_up: a server is given up when it was not reached for this many images in a row.
        private: allow addresses in private networks.
    """

    per_host: int = 4
    tries: int = 5
    timeout: float = 30.0
    seconds: float = 300.0
    max_bytes: int = 200_000_000
    max_wait: float = 600.0
    pause: float = 1.0
    give_up: int = 20
    private: bool = False


class _Passing(Exception):
    """A fault that may be gone at the next try. ``wait``: seconds that the host asks for; ``unreached``: it did not answer at all."""

    def __init__(self, reason: str, wait: float | None = None, *, unreached: bool = False) -> None:
        super().__init__(reason)
        self.wait, self.unreached = wait, unreached


class _Lasting(Exception):
    """A fault that another try would not mend, and what would."""

    def __init__(self, reason: str, hint: str = "Open the address in a browser, and correct the row or leave it out.") -> None:
        super().__init__(reason)
        self.hint = hint


@cache
def _certificates() -> ssl.SSLContext:
    """The certificates that a server's is checked by. To read them takes longer than many a download."""
    import httpx2

    return httpx2.create_ssl_context()


class Downloader:
    """Downloads images into a folder that remembers what it has. Use it as a context manager.

    Args:
        folder: where the images are kept; new, or of an earlier run that was stopped.
        rules: how they are downloaded.
        run: shows progress.
    """

    def __init__(self, folder: Path, rules: DownloadRules, run: Run) -> None:
        self._folder, self._rules, self._run = folder, rules, run
        self._free_again: dict[str, float] = {}
        self._asked: Counter[str] = Counter()  # images of each host
        self._unreached: dict[str, list[str]] = defaultdict(list)  # why a host was not reached, for its last images in a row
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def __enter__(self) -> Downloader:
        import httpx2

        self._folder.mkdir(parents=True, exist_ok=True)
        self._done = self._read_journal()
        self._answering = {_host(address) for address in self._done}
        timeout, headers = httpx2.Timeout(self._rules.timeout), {"User-Agent": f"Syntype/{metadata.version('syntype')}"}
        self._client = httpx2.Client(timeout=timeout, follow_redirects=False, headers=headers, verify=_certificates())
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._client.close()

    def fetch(self, entries: Sequence[Entry], reserve: dict[str | None, list[Entry]]) -> tuple[list[Entry], list[Refused]]:
        """Download the images of entries. Those that cannot be had are replaced from the reserve of their species, as far as it goes.

        Args:
            entries: entries of which some have an address and no file.
            reserve: further entries of each species, the next one first; those that are used are removed from it.

        Returns:
            the entries whose image is here, in their order, with its place and its address in the column ``image_url``; and those that could not be
            had.

        Raises:
            DiskError: the disk is full.
            InputError: no host answers, or one that did before does not any more.
        """
        addresses = {entry.url: None for entry in entries if is_absent(entry)}
        have = sum(address in self._done for address in addresses)
        self._run.say(f"downloading {len(addresses) - have:,} images" + (f"; {have:,} are here already" if have else ""))
        got: list[tuple[int, Entry]] = []
        refused: list[Refused] = []
        wanted = list(enumerate(entries))
        with self._run.progress("downloading", len(addresses)) as bar:
            while wanted:
                failed: Counter[str | None] = Counter()
                results = dict(self._fetch_all(list({str(entry.url): None for _, entry in wanted if is_absent(entry)}), bar.advance))
                self._require_network()
                for place, entry in wanted:
                    found = results.get(str(entry.url))
                    if found is None:
                        got.append((place, entry))
                    elif isinstance(found, Path):
                        got.append((place, replace(entry, image=found, values={**entry.values, "image_url": entry.url})))
                    else:
                        refused.append(Refused(str(entry.url), entry.row, *found))
                        failed[entry.species] += 1
                wanted = [(len(entries), entry) for species, number in failed.items() for entry in _next(reserve.get(species), number)]
        return [entry for _, entry in sorted(got, key=lambda pair: pair[0])], refused

    def _require_network(self) -> None:
        """Stop where it is the network that fails: an import that went on would be short of all images that are still to come.

        A host that never answered is dead, and its images are refused, if others do answer.
        """
        lost = [
            host for host, reasons in self._unreached.items()
            if host in self._answering and len(reasons) >= min(self._rules.give_up, max(2, self._asked[host]))
        ]  # fmt: skip
        silent = [host for host, reasons in self._unreached.items() if reasons]
        if not lost and (self._answering or not silent):
            return
        host = (lost or silent)[0]
        what = "does not answer any more" if lost else "does not answer"
        reason = f"{shortened(host)} {what}: {self._unreached[host][-1]}. {len(self._done):,} images are here"
        raise InputError(reason, "Check the internet connection, and go on with --resume. If the server is gone for good, leave its rows out.")

    def _fetch_all(self, addresses: Sequence[str], advance: Callable[[], None]) -> Iterator[tuple[str, Path | tuple[str, str]]]:
        """For each address the file, or the reason and hint for a refused one. Hosts take turns, so that a slow one holds up no other."""
        queues: dict[str, list[str]] = defaultdict(list)
        for address in addresses:
            queues[_host(address)].append(address)
        for queue in queues.values():
            queue.reverse()
        running: dict[Future[Path | tuple[str, str]], str] = {}
        busy: Counter[str] = Counter()
        with ThreadPoolExecutor(16) as pool:
            try:
                while running or any(queues.values()):
                    for host, queue in queues.items():
                        while queue and busy[host] < self._rules.per_host and len(running) < 16:
                            address = queue.pop()
                            busy[host] += 1
                            running[pool.submit(self._one, address)] = address
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        address = running.pop(future)
                        busy[_host(address)] -= 1
                        advance()
                        yield address, future.result()
            except BaseException:
                self._stopped.set()
                self._client.close()  # so that nobody waits for a slow host
                raise
            finally:
                self._stopped.set()
                pool.shutdown(wait=True, cancel_futures=True)
                self._stopped.clear()

    def _one(self, address: str) -> Path | tuple[str, str]:
        """The file of an address, after as many tries as it takes and is allowed."""
        if (known := self._done.get(address)) is not None:
            return known
        host, reason = _host(address), ""
        unreached = self._unreached[host]
        self._asked[host] += 1
        for number in range(self._rules.tries):
            if len(unreached) >= self._rules.give_up:
                reason = f"its host was given up: {unreached[-1]}"
                break
            if number and not self._pause(self._rules.pause * 2 ** (number - 1)):
                break
            try:
                return self._keep(address, self._get(address))
            except _Passing as fault:
                reason = str(fault)
                if fault.unreached and number == self._rules.tries - 1:
                    unreached.append(reason)
                if fault.wait is not None:
                    if fault.wait > self._rules.max_wait:
                        reason += f", and the host asks to wait {fault.wait / 60:.0f} minutes"
                        break
                    self._hold(address, fault.wait)
            except _Lasting as fault:
                return str(fault), fault.hint
        return reason or "was not downloaded", "The host or the network failed for the time being: try again later."

    def _get(self, address: str) -> bytes:
        """The bytes of an address. Redirects are followed one by one, as each may lead anywhere."""
        import httpx2

        host = _host(address)
        for _ in range(_REDIRECTS + 1):
            self._await_turn(address)
            until, reached = time.monotonic() + self._rules.seconds, False
            try:
                request = checked_request(self._client, address, {"Accept": "image/*, */*;q=0.5"}, private=self._rules.private)
                response = self._client.send(request, stream=True)
                reached = True
                self._answering.add(host)
                self._unreached[host].clear()
                try:
                    if response.status_code in (301, 302, 303, 307, 308) and "location" in response.headers:
                        address = urljoin(address, response.headers["location"])
                        continue
                    return self._body(response, until)
                finally:
                    response.close()
            except NotAllowedError as error:
                raise _Lasting(f"{error}", error.hint) from None
            except httpx2.TimeoutException:
                raise _Passing("the host does not answer in time", unreached=not reached) from None
            except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
                raise _Passing(f"the connection failed ({type(error).__name__})", unreached=not reached) from None
            except OSError:
                raise _Passing("the host is not known, or there is no internet", unreached=not reached) from None
        raise _Lasting("is redirected again and again")

    def _body(self, response: httpx2.Response, until: float) -> bytes:
        """The content of an answer, if it is an image and whole."""
        status = response.status_code
        if status in _PASSING:
            raise _Passing(f"the host answers with the status {status}", seconds_to_wait(response.headers.get("retry-after")))
        if status != 200:
            raise _Lasting(f"{_STATUS.get(status, 'cannot be had')} (status {status})")
        declared = response.headers.get("content-length", "")
        most = self._rules.max_bytes
        if declared.isdecimal() and int(declared) > most:
            raise _Lasting(f"is larger than {most // 1_000_000} MB")
        data = bytearray()
        for chunk in response.iter_bytes():
            data += chunk
            if len(data) > most:
                raise _Lasting(f"is larger than {most // 1_000_000} MB")
            if time.monotonic() > until:
                raise _Lasting(f"takes more than {self._rules.seconds:.0f} seconds")
            if self._stopped.is_set():
                raise _Lasting("was stopped")
        packed = response.headers.get("content-encoding", "identity").lower() not in ("", "identity")
        if declared.isdecimal() and not packed and len(data) != int(declared):
            raise _Passing("breaks off before its end")
        return bytes(data)

    def _keep(self, address: str, data: bytes) -> Path:
        """Check and keep the bytes of an address."""
        kind = kind_of_text(data)
        if kind is not None:
            raise _Lasting(f"is {kind}, not an image")
        if not data:
            raise _Passing("is empty")
        try:
            image = read_image(data)
        except InputError as error:
            if "truncated" in error.reason:
                raise _Passing(error.reason) from None
            raise _Lasting(error.reason) from None
        checksum = hashlib.sha256(data).hexdigest()
        path = self._folder / hashlib.sha256(address.encode()).hexdigest()[:16] / file_name(address, image.format)
        try:
            path.parent.mkdir(exist_ok=True)
            with atomic_write(path) as temporary:
                temporary.write_bytes(data)
            line = json.dumps({"url": address, "file": path.relative_to(self._folder).as_posix(), "bytes": len(data), "sha256": checksum})
            with self._lock, (self._folder / _JOURNAL).open("a", encoding="utf-8") as journal:
                journal.write(line + "\n")
                self._done[address] = path
        except OSError as error:
            raise disk_problem(error, path) or error from None
        except DiskError:
            self._stopped.set()
            raise
        return path

    def _read_journal(self) -> dict[str, Path]:
        """What is here already, by address. A line that was cut off, or whose file is not as it was, does not count."""
        done: dict[str, Path] = {}
        journal = self._folder / _JOURNAL
        if not journal.is_file():
            return done
        for line in journal.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                item = json.loads(line)
                path = self._folder / item["file"]
                if path.stat().st_size == item["bytes"] and hashlib.sha256(path.read_bytes()).hexdigest() == item["sha256"]:
                    done[item["url"]] = path
            except (ValueError, KeyError, TypeError, OSError):
                continue
        with journal.open("a", encoding="utf-8") as file:
            file.write("\n")  # behind a line that was cut off
        return done

    def _hold(self, address: str, seconds: float) -> None:
        """Ask nothing of a host for some time."""
        host = _host(address)
        with self._lock:
            self._free_again[host] = max(self._free_again.get(host, 0.0), time.monotonic() + seconds)

    def _await_turn(self, address: str) -> None:
        left = self._free_again.get(_host(address), 0.0) - time.monotonic()
        if left > 0 and not self._pause(left):
            raise _Lasting("was stopped")

    def _pause(self, seconds: float) -> bool:
        """Wait; False if the downloads were stopped meanwhile."""
        return not self._stopped.wait(seconds)


def is_absent(entry: Entry) -> bool:
    """Whether an entry has an address and no file here."""
    return entry.url is not None and isinstance(entry.image, Path) and not is_there(entry.image)


def _host(address: str) -> str:
    try:
        return urlsplit(address).netloc
    except ValueError:  # a bracket where a host should be
        return ""


def _next(reserve: list[Entry] | None, number: int) -> list[Entry]:
    if not reserve:
        return []
    chosen = reserve[:number]
    del reserve[:number]
    return chosen


def failures_told(refused: Sequence[Refused]) -> str:
    """How many could not be downloaded, and why, in one sentence."""
    reasons = Counter(item.reason for item in refused)
    shown = "; ".join(f"{number:,} {shortened(reason, 60)}" for reason, number in reasons.most_common(4))
    return f"{len(refused):,} images could not be downloaded ({shown}{'; …' if len(reasons) > 4 else ''}): see refused.csv"
