"""A run in an object store: made in a working folder, and kept there file by file as each is committed.

An object appears whole or not at all, so the order of uploads is the order of the commits: a shard's images, its
control maps, then its ledger; `report/report.json` last of the release. The store is the truth: a machine that begins
or goes on takes what is there, and forgets shards of its own that never arrived. So the working folder may be lost at
any time, and each machine of a job may have one of its own.

One writer holds `private/lock`, an object that only one can create. It is renewed while the run goes on; one that was
not renewed for `STALE_SECONDS` is taken over.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from synthgen.place import Place
from synthgen.remote import TRANSFERS, cache_folder, fetch_file, folder_of, list_files, open_url, put_file
from synthgen.rundir import RunDir
from synthgen.shards import Shard
from synthgen.types import ConfigError

RENEW_SECONDS = 30.0
STALE_SECONDS = 600.0
_PLAN = (
    "run.json",
    "key",
    "further.json",
    "shards.json",
    "withdrawn.json",
    "ledger.parquet",
    "round-*.json",
    "learned/*",
)
"""Below private/: what says what the run is."""
REPORT = "report/report.json"
RELEASED = "private/released.json"


class RemotePlace(Place):
    """A run at a URL."""

    def __init__(self, url: str, cache: Path | None) -> None:
        self.url = url.rstrip("/")
        self._fs, self._root = open_url(self.url)
        super().__init__(RunDir(cache_folder(cache) / "runs" / folder_of(self.url)))
        self._kept: dict[str, str] = {}
        """Digest of each plan file as it was last put or fetched."""
        self._lost = threading.Event()

    @property
    def name(self) -> str:
        """The URL."""
        return self.url

    @contextmanager
    def lock(self, timeout: float) -> Iterator[None]:
        """Hold the run against other writers, here and everywhere.

        Raises:
            ConfigError: another one holds it.
        """
        with self.run.lock(timeout):
            token = self._acquire(timeout)
            ended = threading.Event()
            renewing = threading.Thread(target=self._renew, args=(token, ended), name="lock", daemon=True)
            renewing.start()
            try:
                self._adopt()
                yield
            finally:
                ended.set()
                renewing.join()
                if self._holder().get("token") == token:
                    self._fs.rm_file(f"{self._root}/private/lock")

    def fetch_plan(self) -> None:
        """Bring what says what there is to do, and the ledgers, into the working folder."""
        self.run.make_folders()
        names = self._listed("private")
        wanted = [name for name in names if _is_plan(name)]
        self._get("run.yaml", required=False)
        for name in wanted:
            self._get(f"private/{name}")
        ledgers = [name for name in names if name.startswith("ledger/") and name.endswith(".parquet")]
        self._get_missing([f"private/{name}" for name in ledgers])

    def fetch(self) -> None:
        """Bring the images of all shards that are done."""
        self.fetch_plan()
        shards = [shard.name for shard in self.run.store.shards() if self.run.store.done(shard)]
        self._get_missing([f"private/shards/{name}.parquet" for name in shards])

    def fetch_progress(self) -> None:
        """Bring what the workers note of themselves."""
        for name in self._listed("private/progress"):
            self._get(f"private/progress/{name}")

    def fetch_report(self) -> None:
        """Bring `report/report.json`, which is there when the release is whole."""
        (self.run.root / REPORT).unlink(missing_ok=True)
        self._get(REPORT, required=False)

    def forget_progress(self) -> None:
        """Forget the workers of earlier calls."""
        super().forget_progress()
        for name in self._listed("private/progress"):
            self._remove(f"private/progress/{name}")

    def keep_plan(self) -> None:
        """Put the plan as it now is, and delete what is no part of it any more."""
        self._still_held()
        private = self.run.private
        there = {path.relative_to(private).as_posix() for pattern in _PLAN for path in private.glob(pattern)}
        for name in sorted(there):
            self._put_changed(f"private/{name}")
        self._put_changed("run.yaml")
        for name in self._listed("private"):
            if _is_plan(name) and name not in there:
                self._fs.rm_file(f"{self._root}/private/{name}")

    def keep_shard(self, shard: Shard) -> None:
        """Put a committed shard: its ledger last."""
        for folder in ("shards", "controls", "ledger"):
            name = f"private/{folder}/{shard.name}.parquet"
            put_file(self._fs, self.run.root / name, f"{self._root}/{name}")

    def keep_progress(self, notes: Path) -> None:
        """Put what a worker notes of itself."""
        put_file(self._fs, notes, f"{self._root}/private/progress/{notes.name}")

    def keep_release(self) -> None:
        """Put what changed of the release and the report; while it changes, there is no `report/report.json`."""
        self.keep_plan()
        root = self.run.root
        files = [path for folder in (self.run.release, self.run.report) for path in folder.rglob("*") if path.is_file()]
        digests = {path.relative_to(root).as_posix(): _digest(path) for path in sorted(files)}
        self._get(RELEASED, required=False)
        record = root / RELEASED
        before: dict[str, str] = json.loads(record.read_text()) if record.is_file() else {}
        changed = [name for name, digest in digests.items() if before.get(name) != digest and name != REPORT]
        gone = [name for name in before if name not in digests]
        if changed or gone:
            self._remove(REPORT)
            self._remove(RELEASED)
            with ThreadPoolExecutor(TRANSFERS) as pool:
                list(pool.map(lambda name: put_file(self._fs, root / name, f"{self._root}/{name}"), changed))
            for name in gone:
                self._remove(name)
        record.write_text(json.dumps(digests))
        put_file(self._fs, record, f"{self._root}/{RELEASED}")
        put_file(self._fs, root / REPORT, f"{self._root}/{REPORT}")

    def _adopt(self) -> None:
        """Make the working folder agree with the store: another run's is emptied, shards that never arrived go."""
        here, there = self.run.private / "run.json", self._read("private/run.json")
        if there is None or not here.is_file() or json.loads(there) != json.loads(here.read_bytes()):
            for path in self.run.root.iterdir():
                if path.is_dir() and path.name != "private":
                    shutil.rmtree(path)
            for path in self.run.private.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                elif path.name != "lock":
                    path.unlink()
            self.run.config_file.unlink(missing_ok=True)
            return
        arrived = set(self._listed("private/ledger"))
        for ledger in self.run.store.ledgers.glob("*.parquet"):
            if ledger.name not in arrived:
                ledger.unlink()

    def _acquire(self, timeout: float) -> str:
        token = secrets.token_hex(8)
        deadline = time.monotonic() + timeout
        while not self._create("private/lock", token):
            holder = self._holder()
            age = time.time() - holder.get("time", 0.0)
            if holder and age > STALE_SECONDS:
                # Only one can create the successor's object, so only one takes over.
                if self._create(f"private/lock.after.{holder['token']}", token):
                    self._write_lock(token)
                    self._remove(f"private/lock.after.{holder['token']}")
                    return token
            elif holder and time.monotonic() >= deadline:
                raise ConfigError(
                    f"{self.url}: another process ({holder.get('host')}, pid {holder.get('pid')}) is writing this run; "
                    f"wait for it, or choose another --out. Its lock was renewed {age:.0f} s ago; if it died, it is "
                    f"taken over after {STALE_SECONDS:.0f} s"
                )
            time.sleep(0.5)
        return token

    def _renew(self, token: str, ended: threading.Event) -> None:
        while not ended.wait(RENEW_SECONDS):
            try:
                if self._holder().get("token") != token:
                    self._lost.set()
                    return
                self._write_lock(token)
            except (OSError, ConfigError):  # the store may come back; if not, the uploads say so
                continue

    def _still_held(self) -> None:
        if self._lost.is_set():
            raise ConfigError(f"{self.url}: another process took over the lock of this run; this one ends")

    def _create(self, name: str, token: str) -> bool:
        try:
            self._fs.pipe_file(f"{self._root}/{name}", _lock_record(token), mode="create")
        except FileExistsError:
            return False
        except OSError as error:
            raise ConfigError(f"{self.url}: can't be written ({error})") from error
        return True

    def _write_lock(self, token: str) -> None:
        self._fs.pipe_file(f"{self._root}/private/lock", _lock_record(token))

    def _holder(self) -> dict[str, Any]:
        data = self._read("private/lock")
        return json.loads(data) if data else {}

    def _listed(self, folder: str) -> list[str]:
        return sorted(list_files(self._fs, f"{self._root}/{folder}"))

    def _read(self, name: str) -> bytes | None:
        try:
            data: bytes = self._fs.cat_file(f"{self._root}/{name}")
        except FileNotFoundError:
            return None
        return data

    def _remove(self, name: str) -> None:
        if self._fs.exists(f"{self._root}/{name}"):
            self._fs.rm_file(f"{self._root}/{name}")

    def _get(self, name: str, required: bool = True) -> None:
        if not required and not self._fs.exists(f"{self._root}/{name}"):
            return
        fetch_file(self._fs, f"{self._root}/{name}", self.run.root, name)
        self._kept[name] = _digest(self.run.root / name)

    def _get_missing(self, names: list[str]) -> None:
        missing = [name for name in names if not (self.run.root / name).is_file()]
        with ThreadPoolExecutor(TRANSFERS) as pool:
            list(pool.map(lambda name: fetch_file(self._fs, f"{self._root}/{name}", self.run.root, name), missing))

    def _put_changed(self, name: str) -> None:
        path = self.run.root / name
        digest = _digest(path)
        if self._kept.get(name) != digest:
            put_file(self._fs, path, f"{self._root}/{name}")
            self._kept[name] = digest


def _is_plan(name: str) -> bool:
    """Whether a path below private/ is a plan file."""
    return any(Path(name).match(pattern) and name.count("/") == pattern.count("/") for pattern in _PLAN)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _lock_record(token: str) -> bytes:
    record = {"token": token, "host": socket.gethostname(), "pid": os.getpid(), "time": time.time()}
    return json.dumps(record).encode()
