"""Sources and runs by URL: against a local S3 server (moto) where s3fs is installed, else fsspec's memory."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from synthgen.cli import compose
from synthgen.launch import Rank, launch, resolve
from synthgen.remote import list_files, local_copy, local_path, open_url, upload_folder, written_place
from synthgen.remote_place import STALE_SECONDS, RemotePlace
from synthgen.status import format_status, run_status
from synthgen.types import ConfigError
from tests.datasets_for_tests import BAD, GOOD, config_value, parsed, run, tree

KEY, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The URL of an empty bucket on a server of this process."""
    pytest.importorskip("s3fs", reason="s3fs is not installed: synthgen[remote]")
    server_module = pytest.importorskip("moto.server", reason="moto is not installed: synthgen[test]")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("NO_PROXY", "127.0.0.1")
        fsspec.filesystem("s3").mkdir("lab")
        yield "s3://lab"
        fsspec.filesystem("s3").clear_instance_cache()
    server.stop()


@pytest.fixture
def memory() -> Iterator[str]:
    fs = fsspec.filesystem("memory")
    yield "memory://lab"
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


def put(url: str, folder: Path) -> str:
    upload_folder(folder, url)
    return url


def redaction(source: Path | str, cache: Path, **changes: Any) -> dict[str, Any]:
    """A run without a generator: the shards are what is looked at here."""
    value = config_value(Path("unused"), Path("unused"), extract=[], generate={"kind": "none"}, **changes)
    value["source"] = {"format": "masks", "path": str(source)}
    value["protect"] = [{"kind": "solid"}]
    value["execution"] = {"shard_size": 2, "cache": str(cache)}
    del value["plan"]
    return value


def run_at(value: dict[str, Any], out: str) -> list[str]:
    """Make a run at a URL; the sample ids that were worked on."""
    made: list[str] = []
    summary = launch(resolve(parsed(value)), out, lambda total, rank: None, lambda row: made.append(row.sample_id))
    assert summary is not None
    return made


def test_a_run_in_a_bucket_equals_one_in_a_folder_and_goes_on_from_there(
    s3: str, street_set: Path, tmp_path: Path
) -> None:
    source, out = put(f"{s3}/source", street_set), f"{s3}/runs/one"
    plain = tmp_path / "plain"
    run(redaction(street_set, tmp_path / "cache"), plain)

    made = run_at(redaction(source, tmp_path / "cache"), out)
    assert len(made) == len(GOOD) + len(BAD)
    fs, root = open_url(out)
    there = list_files(fs, root)
    local = {name for name in tree(plain) if not name.startswith(("private/progress/", "private/lock"))}
    assert {name for name in there if not name.startswith("private/progress/")} == local | {"private/released.json"}
    assert fs.cat_file(f"{root}/private/run.json") == (plain / "private/run.json").read_bytes()
    for name in tree(plain / "release"):
        assert fs.cat_file(f"{root}/release/{name}") == (plain / "release" / name).read_bytes()

    # Another machine, after the one above was lost before its last shard arrived.
    ledgers = sorted(name for name in there if name.startswith("private/ledger/"))
    for name in (ledgers[-1], "report/report.json"):
        fs.rm_file(f"{root}/{name}")
    status = run_status(out, tmp_path / "onlooker")
    assert status["shards_done"] == len(ledgers) - 1 and not status["released"]
    before = {name: fs.info(f"{root}/{name}")["LastModified"] for name in ledgers[:-1]}
    time.sleep(1.1)  # LastModified has whole seconds
    made = run_at(redaction(source, tmp_path / "other"), out)
    assert 0 < len(made) <= 2
    fs.invalidate_cache()
    assert {name: fs.info(f"{root}/{name}")["LastModified"] for name in ledgers[:-1]} == before
    after = {name: fs.cat_file(f"{root}/{name}") for name in list_files(fs, root)}
    assert {name for name in after if "progress" not in name} == local | {"private/released.json"}
    assert all(after[f"release/{name}"] == data for name, data in tree(plain / "release").items())
    assert all(KEY.encode() not in data and SECRET.encode() not in data for data in after.values())
    assert run_at(redaction(source, tmp_path / "other"), out) == [], "nothing is left to do"
    assert "release is written" in format_status(run_status(out, tmp_path / "onlooker"))


def test_one_writer_holds_a_bucket(s3: str, tmp_path: Path) -> None:
    first, second = (RemotePlace(f"{s3}/locked", tmp_path / name) for name in ("a", "b"))
    with first.lock(0), pytest.raises(ConfigError, match=f"pid {os.getpid()}\\) is writing this run"):
        second.lock(0).__enter__()
    with second.lock(0):
        fs, root = open_url(f"{s3}/locked")
        assert json.loads(fs.cat_file(f"{root}/private/lock"))["pid"] == os.getpid()
    assert not fs.exists(f"{root}/private/lock")


def test_a_lock_nobody_renews_is_taken_over_by_one(memory: str, tmp_path: Path) -> None:
    fs, root = open_url(f"{memory}/run")
    stale = {"token": "old", "host": "gone", "pid": 1, "time": time.time() - STALE_SECONDS - 1}
    fs.pipe_file(f"{root}/private/lock", json.dumps(stale).encode())
    place = RemotePlace(f"{memory}/run", tmp_path)
    with place.lock(0):
        assert json.loads(fs.cat_file(f"{root}/private/lock"))["token"] != "old"
    assert fs.find(root) == []


def test_a_working_folder_of_another_run_is_emptied(memory: str, tmp_path: Path) -> None:
    """It is a cache: a run that was deleted at its URL is not brought back from it."""
    place = RemotePlace(f"{memory}/run", tmp_path)
    place.run.make_folders()
    (place.run.private / "run.json").write_text("{}")
    (place.run.private / "ledger").mkdir()
    (place.run.private / "ledger/00000-a.parquet").write_bytes(b"old")
    with place.lock(0):
        assert {path.name for path in place.run.private.iterdir()} == {"lock"}


def test_a_copy_follows_its_source(memory: str, street_set: Path, tmp_path: Path) -> None:
    url = put(f"{memory}/source", street_set)
    fs, root = open_url(url)
    folder = local_copy(url, tmp_path)
    assert tree(folder) == tree(street_set)
    kept, changed, gone = GOOD[0], GOOD[1], GOOD[2]
    stamp = (folder / kept).stat().st_mtime_ns
    fs.pipe_file(f"{root}/{changed}", b"new")
    fs.rm_file(f"{root}/{gone}")
    assert local_copy(url, tmp_path) == folder
    assert (folder / kept).stat().st_mtime_ns == stamp and (folder / changed).read_bytes() == b"new"
    assert not (folder / gone).exists()
    assert folder.stat().st_mode & 0o077 == 0, "copies of the source are for their owner alone"


def test_where_a_source_lies_is_no_part_of_the_run_id(memory: str, street_set: Path, tmp_path: Path) -> None:
    url = put(f"{memory}/source", street_set)
    remote = resolve(parsed(redaction(url, tmp_path)))
    assert remote.run_id == resolve(parsed(redaction(street_set, tmp_path))).run_id
    assert remote.config.source.url == url and remote.config.source.path.is_relative_to(tmp_path)


def test_an_export_ends_at_its_url_or_not_at_all(memory: str, street_set: Path) -> None:
    with written_place(f"{memory}/export") as folder:
        shutil.copytree(street_set, folder)
    fs, root = open_url(f"{memory}/export")
    assert set(list_files(fs, root)) == set(tree(street_set))
    with pytest.raises(ConfigError, match="holds something already"), written_place(f"{memory}/export") as folder:
        shutil.copytree(street_set, folder)
    with pytest.raises(ZeroDivisionError), written_place(f"{memory}/half"):
        raise ZeroDivisionError
    assert fs.find(f"{root.removesuffix('export')}half") == []


@pytest.mark.parametrize("name", ["../../etc/passwd", "images/../../up.png", "back\\slash.png"])
def test_a_name_that_leads_out_is_refused(name: str, tmp_path: Path) -> None:
    class Hostile:
        def invalidate_cache(self) -> None: ...

        def find(self, root: str, detail: bool) -> dict[str, Any]:
            return {f"{root}/{name}": {"size": 1}}

    with pytest.raises(ConfigError, match="leads out of the folder"):
        list_files(Hostile(), "bucket/source")


@pytest.mark.parametrize("url", [f"s3://{KEY}:{SECRET}@lab/source", f"https://lab.org/set?token={SECRET}"])
def test_credentials_in_a_url_are_refused_and_not_repeated(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="may hold no credentials") as raised:
        open_url(url)
    assert KEY not in str(raised.value) and SECRET not in str(raised.value)
    with pytest.raises(ConfigError) as raised:
        compose(None, url, None)
    assert SECRET not in str(raised.value)


def test_what_can_not_be_opened_says_why() -> None:
    with pytest.raises(ConfigError, match="nonesuch"):
        open_url("nonesuch://bucket/x")


def test_local_places() -> None:
    assert local_path("file:///data/set") == Path("/data/set") and local_path("runs/a") == Path("runs/a")
    assert local_path("s3://bucket/a") is None
    assert Rank().first
