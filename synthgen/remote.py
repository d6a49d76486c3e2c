"""Object stores and other remote places, by fsspec URL: what a run reads from there, and how a place is named.

Every reader of a dataset takes a local folder, so a remote source is copied into a cache, file by file, before the run
looks at it: a file is fetched again only when the store says that it changed (by its ETag or the like, and its size),
and a copy that was cut short goes on. Credentials are never part of a URL: a URL is written into configs and messages.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from filelock import FileLock

from synthgen.redaction import redact
from synthgen.types import ConfigError

TRANSFERS = 8
"""Files on their way at once."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def is_url(place: Path | str) -> bool:
    """Whether a place is given by URL; `file://` too."""
    return _URL.match(str(place)) is not None


def local_path(place: Path | str) -> Path | None:
    """The folder that a path or a `file://` URL means; None for what is remote."""
    if not is_url(place):
        return Path(place)
    parts = urlsplit(str(place))
    return Path(parts.path) if parts.scheme in {"file", "local"} and not parts.netloc else None


def open_url(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path in it, without a slash at its end.

    Raises:
        ConfigError: credentials in the URL, an unknown scheme, or a package that is missing for it.
    """
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigError(
            f"{redact(url.partition('?')[0])}: a URL may hold no credentials and no query, since it is written into "
            "configs and messages; give them by environment (AWS_ACCESS_KEY_ID, GOOGLE_APPLICATION_CREDENTIALS, …) or "
            "in fsspec's own configuration"
        )
    import fsspec

    try:
        fs, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise ConfigError(f"{url}: {error}; pip install 'synthgen[remote]' brings s3 and gs") from error
    except ValueError as error:
        raise ConfigError(f"{url}: {error}") from error
    return fs, str(path).rstrip("/")


def cache_folder(cache: Path | None) -> Path:
    """Where copies and working folders lie; private, since it holds sources."""
    folder = cache or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "synthgen"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def folder_of(url: str) -> str:
    """The name of a URL's folder in the cache."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def list_files(fs: Any, root: str) -> dict[str, str]:
    """Path below `root` → stamp (size, and ETag, checksum or date) of every file there; none if there is no `root`.

    Raises:
        ConfigError: a name that leads out of a folder, or the store can't be read.
    """
    fs.invalidate_cache()
    try:
        found: Mapping[str, dict[str, Any]] = fs.find(root, detail=True)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{root}: can't be read ({redact(str(error))})") from error
    files = {}
    for path, info in found.items():
        name = path.removeprefix(root).lstrip("/")
        if not name or name.endswith("/"):
            continue
        pure = PurePosixPath(name)
        if ".." in pure.parts or "\\" in name or "\0" in name or pure.is_absolute():
            raise ConfigError(f"{root}: the name {name!r} leads out of the folder; rename it")
        stamp = next((info[key] for key in ("ETag", "etag", "md5Hash", "mtime", "created") if info.get(key)), "")
        files[name] = f"{info.get('size')} {stamp}"
    return files


def local_copy(url: str, cache: Path | None = None) -> Path:
    """A folder that holds what lies at `url` now.

    Raises:
        ConfigError: nothing is there, or it can't be read.
    """
    if (plain := local_path(url)) is not None:
        return plain
    fs, root = open_url(url)
    folder = cache_folder(cache) / "sources" / folder_of(url)
    files, journal = folder / "files", folder / "journal.jsonl"
    files.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        wanted = list_files(fs, root)
        if not wanted:
            raise ConfigError(f"source.path: {url} holds no files")
        have = {name: stamp for name, stamp in _read_journal(journal).items() if (files / name).is_file()}
        for stale in [path for path in files.rglob("*") if path.is_file()]:
            if stale.relative_to(files).as_posix() not in wanted:
                stale.unlink()
        missing = [name for name, stamp in wanted.items() if have.get(name) != stamp]
        with journal.open("a", encoding="utf-8") as log, ThreadPoolExecutor(TRANSFERS) as pool:
            for name in pool.map(lambda name: fetch_file(fs, f"{root}/{name}", files, name), missing):
                log.write(json.dumps([name, wanted[name]]) + "\n")
                log.flush()
    return files


def fetch_file(fs: Any, remote: str, folder: Path, name: str) -> str:
    """Bring one file into `folder` under `name`, whole or not at all; returns the name.

    Raises:
        ConfigError: it can't be read.
    """
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name[:200]}.{os.getpid()}.tmp")
    try:
        fs.get_file(remote, str(partial))
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ConfigError(f"{remote}: can't be read ({redact(str(error))})") from error
    os.replace(partial, path)
    return name


def upload_folder(folder: Path, url: str) -> None:
    """Put every file of a folder under `url`, which must hold nothing yet.

    Raises:
        ConfigError: it holds something, or can't be written.
    """
    fs, root = open_url(url)
    if list_files(fs, root):
        raise ConfigError(f"{url}: holds something already; choose a place that does not")
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    with ThreadPoolExecutor(TRANSFERS) as pool:
        list(pool.map(lambda name: put_file(fs, folder / name, f"{root}/{name}"), names))


@contextmanager
def written_place(out: str) -> Iterator[Path]:
    """The folder to write so that it ends at `out`: itself, or one that is uploaded when nothing went wrong.

    Raises:
        ConfigError: as `upload_folder`.
    """
    if (plain := local_path(out)) is not None:
        yield plain
        return
    with tempfile.TemporaryDirectory(prefix="synthgen-") as scratch:
        folder = Path(scratch) / "out"
        yield folder
        upload_folder(folder, out)


def put_file(fs: Any, path: Path, remote: str) -> None:
    """Put one file; in an object store it appears whole or not at all.

    Raises:
        ConfigError: it can't be written.
    """
    try:
        fs.put_file(str(path), remote)
    except OSError as error:
        raise ConfigError(f"{remote}: can't be written ({redact(str(error))})") from error


def _read_journal(path: Path) -> dict[str, str]:
    return dict(_journal_lines(path)) if path.exists() else {}


def _journal_lines(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            name, stamp = json.loads(line)
        except ValueError:  # the last line of a copy that was cut short
            continue
        yield name, stamp
