"""Nothing of what a source says beside its pixels is in any byte of a release, and what links the two stays private."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, ImageCms, PngImagePlugin
from PIL import Image as PillowImage

from synthgen.rundir import RELEASED, RunDir
from tests.datasets_for_tests import PERSON, TABLE, config_value, rows, run, street, tree

SECRET = "Jane-Roe-7311"
SPLIT = ("train", "val")


def exif(fragment: str) -> bytes:
    """GPS, names, times, a serial number and a comment, each with the secret in it."""
    tags = PillowImage.Exif()
    for tag in (ExifTags.Base.Artist, ExifTags.Base.Copyright, ExifTags.Base.ImageDescription, ExifTags.Base.Make):
        tags[tag] = f"{SECRET} {fragment}"
    tags[ExifTags.Base.DateTime] = "2019:05:03 12:34:56"
    more = tags.get_ifd(ExifTags.IFD.Exif)
    more[ExifTags.Base.BodySerialNumber] = more[ExifTags.Base.UserComment] = SECRET
    tags.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: (52.0, 31.0, 12.3), 29: f"{SECRET} 2019:05:03"})
    return tags.tobytes()


def profile() -> bytes:
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    return bytes(data) + SECRET.encode()


def save_marked(path: Path, image: Any) -> None:
    """An image file with everything in it that the format has a place for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = PillowImage.fromarray(image)
    packet = f"<x:xmpmeta>{SECRET}</x:xmpmeta>".encode()
    if path.suffix == ".png":
        text = PngImagePlugin.PngInfo()
        text.add_text("Author", SECRET)
        text.add_itxt("XML:com.adobe.xmp", packet.decode())
        picture.save(path, pnginfo=text, exif=exif("png"), icc_profile=profile())
    elif path.suffix == ".jpg":
        picture.save(path, exif=exif("jpg"), comment=SECRET.encode(), xmp=packet, icc_profile=profile())
    else:
        picture.save(path, exif=exif("other"), xmp=packet, icc_profile=profile())


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Street images with label images, both full of metadata, in files named after somebody."""
    root = tmp_path_factory.mktemp("marked") / "source"
    for number, suffix in enumerate((".jpg", ".png", ".webp", ".tif", ".jpg")):
        image, ids = street(number)
        name = f"{SPLIT[number % 2]}/{SECRET}_{number}"
        save_marked(root / f"images/{name}{suffix}", image)
        save_marked(root / f"labels/{name}.png", ids.astype(np.uint8))
    (root / "classes.csv").write_text(TABLE)
    return root


def holding(files: dict[str, bytes], *needles: bytes) -> list[str]:
    return [
        name for name, data in files.items() if any(needle in data or needle in name.encode() for needle in needles)
    ]


def test_the_source_is_full_of_it(marked: Path) -> None:
    images = {name: data for name, data in tree(marked).items() if name != "classes.csv"}
    assert len(holding(images, SECRET.encode())) == len(images) == 10
    assert len({data for data in images.values() if b"2019:05:03" in data}) > 8


def test_no_byte_of_the_release_holds_it(marked: Path, tiny_sd: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(config_value(marked, tiny_sd, names="pseudonym"), out)
    released, reported = tree(out / "release"), tree(out / "report")
    assert sum(name.startswith("images/") for name in released) == 5
    needles = [
        SECRET.encode(),
        b"2019:05:03",
        b"Exif\0\0",
        b"eXIf",
        b"tEXt",
        b"iTXt",
        b"ICC_PROFILE",
        b"iCCP",
        b"xmpmeta",
    ]
    assert holding(released, *needles) == []
    assert holding(reported, SECRET.encode(), b"2019:05:03") == []
    for name, data in released.items():
        if name.endswith((".jpg", ".png", ".webp", ".tif")):
            with PillowImage.open(out / "release" / name) as opened:
                assert not opened.getexif() or set(opened.getexif()) <= TIFF_TAGS, name
                assert not {"icc_profile", "xmp", "comment", "exif"} & set(opened.info), name
            assert data
    linked = [row.source_digest.encode() for row in rows(out).values()] + [(out / "private/key").read_bytes().strip()]
    assert holding(released | reported, *linked) == []


TIFF_TAGS = {256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 339}
"""Size, sample format, compression and strips: without these a TIFF is no image."""


def test_kept_names_keep_label_files_but_no_image_metadata(marked: Path, tiny_sd: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(config_value(marked, tiny_sd), out)
    images = {name: data for name, data in tree(out / "release").items() if name.startswith("images/")}
    assert len(images) == 5 and not any(SECRET.encode() in data or b"2019:05:03" in data for data in images.values())


def test_times_tell_nothing(marked: Path, tiny_sd: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(config_value(marked, tiny_sd, names="pseudonym"), out)
    times = {path.stat().st_mtime for path in (out / "release").rglob("*")}
    assert times == {RELEASED}


def test_what_links_outputs_to_sources_is_private_alone(marked: Path, tiny_sd: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(config_value(marked, tiny_sd, names="pseudonym"), out)
    assert (out / "private").stat().st_mode & 0o777 == 0o700
    assert (out / "private/key").stat().st_mode & 0o777 == 0o600
    private = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    outside = {name for name in private if not name.startswith(("private/", "release/", "report/"))}
    assert outside == {"run.yaml"}
    assert not any("control" in name or "ledger" in name or "key" in name for name in tree(out / "release"))
    key = (out / "private/key").read_bytes()
    again = RunDir(out)
    names = again.names(again.config())
    assert (out / "private/key").read_bytes() == key
    assert {names.image(item, 0) for item in again.config().source.index().items} <= set(tree(out / "release"))


def test_another_run_gives_other_names(marked: Path, tiny_sd: Path, tmp_path: Path) -> None:
    for place in ("one", "two"):
        run(config_value(marked, tiny_sd, names="pseudonym"), tmp_path / place)
    first, second = (set(tree(tmp_path / place / "release")) for place in ("one", "two"))
    assert {name for name in first & second if name.startswith("images/")} == set()


def test_columns_of_a_metadata_file(tiny_sd: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    lines = []
    for number in range(3):
        save_marked(source / f"{number}.jpg", street(number)[0])
        row = {
            "file_name": f"{number}.jpg",
            "age": number,
            "name": SECRET,
            "taken": "2019-05-03",
            "extra": f"{SECRET}@x.org",
        }
        lines.append(json.dumps(row))
    (source / "metadata.jsonl").write_text("\n".join(lines))
    value = config_value(source, tiny_sd, names="pseudonym", detect=[], extract=["canny"], protect=[])
    value["source"] = {"format": "imagefolder", "path": str(source)}
    value["generate"] |= {"controlnets": value["generate"]["controlnets"][:1]}
    out = tmp_path / "run"
    run(value, out)
    released = tree(out / "release")
    assert holding(released, SECRET.encode(), b"2019") == []
    assert [sorted(json.loads(line)) for line in released["metadata.jsonl"].splitlines()] == [["age", "file_name"]] * 3


def test_a_person_is_among_the_labels(marked: Path) -> None:
    """Or the runs above would protect nobody."""
    label = next((marked / "labels").rglob("*.png"))
    assert (np.asarray(PillowImage.open(label)) == PERSON).any()
