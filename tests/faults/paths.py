"""Faults 13 to 22: paths, links, names, and what stands twice."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import socket
import sys
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from synthgen.images import encode_image
from tests.datasets_for_tests import SIZE, street, tree, write_pair, write_streets
from tests.faults.lab import Ended, Fault, Lab, NotYet

WIDTH, HEIGHT = SIZE
NAME = "images/a.png"


def picture(seed: int = 1) -> bytes:
    return encode_image(street(seed)[0], ".png")


def write(path: Path, data: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())


# ---- label files that name a file, by format


def write_coco(root: Path, name: str) -> None:
    images = [{"id": 1, "file_name": name, "width": WIDTH, "height": HEIGHT}]
    table = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "person"}]}
    write(root / "annotations/instances_train.json", json.dumps(table))
    write(root / "images/train/a.png", picture())


def write_metadata(root: Path, name: str) -> None:
    write(root / "metadata.jsonl", json.dumps({"file_name": name, "kind": "x"}))
    write(root / "a.png", picture())


def write_yolo(root: Path, name: str) -> None:
    write(root / "data.yaml", "train: train.txt\nnames: [person]\n")
    write(root / "train.txt", f"{name}\n")
    write(root / NAME, picture())
    write(root / "labels/a.txt", "0 0.5 0.5 0.25 0.5\n")


def write_voc(root: Path, name: str) -> None:
    write(root / "JPEGImages/a.jpg", encode_image(street(1)[0], ".jpg"))
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
    write(root / "Annotations/a.xml", f"<annotation><filename>{name}</filename>{size}</annotation>")


def write_parquet(root: Path, name: str) -> None:
    root.mkdir(parents=True, exist_ok=True)
    rows = pa.table({"image": [{"bytes": picture(), "path": name}], "label": [0]})
    pq.write_table(rows, root / "train.parquet")


def write_tar(root: Path, name: str, kind: bytes = tarfile.REGTYPE) -> None:
    root.mkdir(parents=True, exist_ok=True)
    with tarfile.open(root / "train-000000.tar", "w") as tar:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "../../etc/passwd"
        data = picture() if kind == tarfile.REGTYPE else b""
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    write(root / "classes.csv", "id,name\n0,person\n")


WRITERS: dict[str, Callable[[Path, str], None]] = {
    "coco": write_coco,
    "imagefolder": write_metadata,
    "yolo": write_yolo,
    "voc": write_voc,
    "hf": write_parquet,
    "webdataset": write_tar,
}

_opened: list[str] | None = None


@cache
def _listen() -> None:
    """Hear every file that Python opens; a hook stays for the life of the process, so there is one."""

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and _opened is not None:
            _opened.append(os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes) else "")

    sys.addaudithook(hook)


@contextlib.contextmanager
def opened() -> Iterator[list[str]]:
    """The paths that are opened meanwhile."""
    global _opened
    _listen()
    _opened = heard = []
    try:
        yield heard
    finally:
        _opened = None


def leaving(*names: str) -> Callable[[Lab], str]:
    """Each of the names, in the label file of each format, stops the run, and what it names is not opened."""

    def provoke(lab: Lab) -> str:
        told = ""
        for form, writer in WRITERS.items():
            for name in names:
                root = lab.folder() / "deep/source"
                writer(root, name)
                write(root.parent / "secret.png", picture(9))
                with opened() as files:
                    ended = lab.run(lab.redact(root, form, detect=[], protect=[{"kind": "blur", "region": "all"}]))
                told = ended.stopped()
                assert not ended.root.exists(), "nothing is written"
                assert any("deep/source" in file for file in files), "the hook hears"
                assert not [file for file in files if "passwd" in file or "secret" in file], (form, name)
        return f"X, nothing read · {len(WRITERS)} formats; {told.partition(' · ')[2]}"

    return provoke


def archives(lab: Lab) -> str:
    for name, kind in (("../../x.png", tarfile.REGTYPE), ("a.png", tarfile.SYMTYPE), ("a.png", tarfile.LNKTYPE)):
        root = lab.folder() / "source"
        write_tar(root, name, kind)
        told = lab.run(lab.redact(root, "webdataset")).stopped("train-000000.tar")
        assert not list(root.parent.parent.rglob("x.png"))
    folder = lab.folder()
    with zipfile.ZipFile(folder / "set.zip", "w") as archive:
        archive.writestr("../../evil.png", picture())
    lab.run(lab.redact(folder / "set.zip", "imagefolder")).stopped("unpack")
    assert not list(lab.root.rglob("evil.png"))
    return told


# ---- files that are no files


@contextlib.contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Fail instead of waiting for ever on a pipe."""

    def stop(*_: object) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def links_out(lab: Lab) -> str:
    root = write_streets(lab.folder() / "source", bad=False)
    write(root.parent / "elsewhere.png", picture(9))
    write_pair(root, "images/train/link.png", *street(9))
    write_pair(root, "images/train/mask.png", *street(8))
    for name in ("images/train/link.png", "labels/train/mask.png"):
        (root / name).unlink()
        (root / name).symlink_to(root.parent / "elsewhere.png")
    return lab.run(lab.redact(root)).quarantined(accepted=7)


def pipes(lab: Lab) -> str:
    root = write_streets(lab.folder() / "source", bad=False)
    for name in ("fifo", "socket", "device", "label"):
        write_pair(root, f"images/train/{name}.png", *street(9))
        (root / f"{'labels' if name == 'label' else 'images'}/train/{name}.png").unlink()
    os.mkfifo(root / "images/train/fifo.png")
    os.mkfifo(root / "labels/train/label.png")
    with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(root / "images/train"):
        server.bind("socket.png")
    try:
        os.mknod(root / "images/train/device.png", 0o20666, os.makedev(1, 5))
    except PermissionError:
        os.mkfifo(root / "images/train/device.png")
    with time_limit(60):
        return lab.run(lab.redact(root)).quarantined(accepted=7)


# ---- names


def names_in(lab: Lab, stems: list[str], **changes: str) -> Ended:
    """A redacted dataset of images of these names."""
    root = lab.folder() / "source"
    for seed, name in enumerate(stems):
        write_pair(root, f"images/train/{name}", *street(seed))
    shutil.copy(lab.streets / "classes.csv", root)
    ended = lab.run(lab.redact(root, **changes))
    assert ended.status == 0 and not any(ended.codes.values()), (ended.err, ended.codes)
    return ended


def strange_names(lab: Lab) -> str:
    two = [unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD")]
    names = [*two, "🙂.png", "\u202egnp.png", "שלום.png", "a\nb.png", "a b.png", "-rf.png", "con.png"]
    kept = names_in(lab, names)
    assert {f"images/train/{name}" for name in names} <= set(tree(kept.root / "release"))
    ended = names_in(lab, names, names="pseudonym")
    found = [Path(name).name for name in tree(ended.root / "release") if name.startswith("images/")]
    assert len(set(found)) == len(names) and all(name.isascii() and name[:-4].isalnum() for name in found), found
    return f"safe ids, none lost · {len(names)} names, pseudonyms such as {found[0]}"


def cases(lab: Lab) -> str:
    names = ["A.png", "a.png", "Street.png", "STREET.png"]
    folder = lab.folder()
    (folder / "A").touch()
    if (folder / "a").exists():
        raise NotYet("this file system takes A and a for one name")
    ended = names_in(lab, names)
    released = tree(ended.root / "release/images/train")
    assert set(released) == set(names) and len(set(released.values())) == len(names)
    again = names_in(lab, names, names="pseudonym")
    assert len({name.casefold() for name in tree(again.root / "release/images/train")}) == len(names)
    told = lab.synthgen("check", again.root / "run.yaml", "--json").out
    assert "names-clash" in told
    return f"no overwrite, told · {len(released)} of {len(names)} released"


def long_name(lab: Lab) -> str:
    name = "x" * 251 + ".png"
    ended = names_in(lab, [name])
    assert f"images/train/{name}" in tree(ended.root / "release")
    return f"accepted · {len(name)} bytes, released under the same name"


# ---- what stands twice


def duplicates(lab: Lab) -> str:
    root = write_streets(lab.folder() / "source", bad=False)
    write(root / "images/train/s1.jpg", encode_image(street(1)[0], ".jpg"))
    lab.run(lab.redact(root)).stopped("several images for one label", "train/s1")
    root = lab.folder() / "source"
    write_coco(root, "a.png")
    table = json.loads((root / "annotations/instances_train.json").read_text())
    table["images"] *= 2
    write(root / "annotations/instances_train.json", json.dumps(table))
    return lab.run(lab.redact(root, "coco")).stopped("image ids that stand twice: 1")


def same_image(lab: Lab) -> str:
    root = write_streets(lab.folder() / "source", bad=False)
    image, ids = street(20)
    for place in ("train/one", "train/two", "val/three"):
        write_pair(root, f"images/{place}.png", image, ids)
        ids = ids[:, ::-1]
    ended = lab.run(lab.redact(root))
    assert ended.status == 0, ended.err
    told = lab.synthgen("check", ended.root / "run.yaml", "--json")
    findings = json.loads(told.out)["source"]["findings"]
    (line,) = [line for line in findings if "image-duplicate" in line]
    assert all(name in line for name in ("train/one", "train/two", "val/three", "several splits")), line
    splits = {row.sample_id: row.split for row in ended.rows if row.sample_id in line}
    assert set(splits) <= set(tree(ended.root / "release")) and sorted(splits.values()) == ["train", "train", "val"]
    return f"flagged, splits kept · {line}"


FAULTS = (
    Fault(13, "../../etc/passwd in a label file", "X, nothing read", leaving("../../etc/passwd", "../secret.png")),
    Fault(
        14,
        "absolute, drive or UNC path",
        "X, nothing read",
        leaving("/etc/passwd", "C:\\secret.png", "\\\\host\\secret.png", "//host/secret.png"),
    ),
    Fault(15, "symlink out of the root (image, label)", "Q path-outside-root", links_out),
    Fault(16, "FIFO, socket, device (image, label)", "Q file-not-regular", pipes),
    Fault(17, "zip-slip, links in a tar", "X", archives),
    Fault(18, "NFC/NFD, emoji, RTL, newline in names", "safe ids, none lost", strange_names),
    Fault(19, "names that differ in case", "no overwrite, told", cases),
    Fault(20, "name of 255 bytes", "accepted", long_name),
    Fault(21, "duplicate id", "X", duplicates),
    Fault(22, "same image, different labels", "flagged, splits kept", same_image),
)
