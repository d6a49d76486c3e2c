"""The contact sheet: a few samples of a run side by side, so that a person can look before trusting a number.

The private sheet shows source, maps before and after protection, output and labels; it holds source pixels and lies
under `private/`. The release sheet shows outputs alone, as they were released.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from synthgen.images import decode_image
from synthgen.launch import select_items
from synthgen.prepare import Preparer, resize_image
from synthgen.rundir import RunDir, open_run
from synthgen.shards import StoredImage, write_atomic
from synthgen.types import ConfigError, Image, Labels

CELL_HEIGHT = 192
GAP = 6
HEADER = 22
INK = (40, 40, 40)


def draw_contact_sheet(path: Path, release: bool, rows: int, out: Path | None) -> Path:
    """Draw `rows` accepted samples of the run in `path`, spread evenly over it; returns the PNG's path.

    Raises:
        SynthgenError: no run there, or nothing was accepted in it.
    """
    run = open_run(path)
    chosen = _spread(run, rows)
    if not chosen:
        raise ConfigError(f"{path}: no accepted output to show yet")
    sheet = _release_sheet(chosen) if release else _private_sheet(run, chosen)
    default = run.report / "contact-sheet.png" if release else run.private / "contact-sheet.png"
    target = out or default
    encoded, png = cv2.imencode(".png", sheet[:, :, ::-1])
    if not encoded:
        raise ConfigError(f"{target}: the sheet could not be encoded")
    write_atomic(target, png.tobytes())
    return target


def _spread(run: RunDir, rows: int) -> list[StoredImage]:
    store = run.store
    accepted = [(row.sample_id, row.variant) for row in store.rows() if row.verdict == "accepted"]
    places = np.linspace(0, len(accepted) - 1, min(rows, len(accepted))).astype(int)
    wanted = {accepted[place] for place in places}
    shards = [shard for shard in store.shards() if store.done(shard) and {key[0] for key in wanted} & set(shard.ids)]
    return [
        image for shard in shards for image in store.stored_images(shard) if (image.sample_id, image.variant) in wanted
    ]


def _release_sheet(images: list[StoredImage]) -> Image:
    cells = [_cell(decode_image(image.data, image.sample_id)) for image in images]
    columns = max(1, int(np.ceil(np.sqrt(len(cells)))))
    return _stack([_line(cells[start : start + columns]) for start in range(0, len(cells), columns)])


def _private_sheet(run: RunDir, images: list[StoredImage]) -> Image:
    config = run.config()
    items = {item.id: item for item in select_items(config.source)[1]}
    preparer = Preparer(config, config.source, "cpu")
    rows = {(row.sample_id, row.variant): row for row in run.store.rows()}
    lines = []
    for image in images:
        sample = config.source.read(items[image.sample_id])
        row = rows[image.sample_id, image.variant]
        prepared, seen = preparer.at_stage(sample, preparer.detect(sample), row.stage)
        output = decode_image(image.data, image.sample_id)
        cells = [("source", sample.image)]
        cells += [(f"{kind} (private)", control.image) for kind, control in seen.maps.items()]
        cells += [(f"{kind} protected", control.image) for kind, control in prepared.controls.maps.items()]
        cells += [("output", output), ("labels on output", overlay_labels(output, sample.labels))]
        caption = preparer.stages[row.stage - 1].stage.describe() if prepared.redacted else f"prompt: {row.prompt}"
        if config.stages and not prepared.redacted:
            caption += f"   stage: {config.resolved_stages[row.stage - 1].title}"
        lines.append(_captioned([(_cell(picture), text) for text, picture in cells], caption))
    return _stack(lines)


def overlay_labels(image: Image, labels: Labels) -> Image:
    """`image` with its label mask blended in (class colours) and instance boxes drawn; (height, width, 3)."""
    result = image.copy()
    if labels.mask is not None and labels.mask.shape == image.shape[:2]:
        colors = _class_colors(labels)
        painted = colors[np.clip(labels.mask, 0, len(colors) - 1)]
        result = cv2.addWeighted(result, 0.55, painted, 0.45, 0).astype(np.uint8)
    for instance in labels.instances:
        box = instance.box
        corner = (int(box.x0), int(box.y0)), (int(box.x1), int(box.y1))
        cv2.rectangle(result, *corner, (255, 210, 0), max(1, image.shape[0] // 200))
    return result


def _class_colors(labels: Labels) -> Image:
    size = max([info.id for info in labels.classes] + [0]) + 1
    colors = np.zeros((size, 3), np.uint8)
    for info in labels.classes:
        hue = np.array([[[(info.id * 47) % 180, 200, 230]]], np.uint8)
        generated = tuple(int(value) for value in cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0])
        if info.id >= 0:
            colors[info.id] = (0, 0, 0) if info.ignore else info.color or generated
    return colors


def _cell(image: Image) -> Image:
    return resize_image(image, (max(1, round(image.shape[1] * CELL_HEIGHT / image.shape[0])), CELL_HEIGHT))


def _captioned(cells: list[tuple[Image, str]], caption: str) -> Image:
    titled = []
    for cell, text in cells:
        header = np.full((HEADER, cell.shape[1], 3), 255, np.uint8)
        cv2.putText(header, text, (2, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.4, INK, 1, cv2.LINE_AA)
        titled.append(np.concatenate([header, cell]))
    line = _line(titled)
    footer = np.full((HEADER, line.shape[1], 3), 255, np.uint8)
    cv2.putText(footer, caption, (2, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.42, INK, 1, cv2.LINE_AA)
    return np.concatenate([line, footer])


def _line(cells: list[Image]) -> Image:
    gap = np.full((cells[0].shape[0], GAP, 3), 255, np.uint8)
    return np.concatenate([part for cell in cells for part in (cell, gap)], axis=1)


def _stack(lines: list[Image]) -> Image:
    width = max(line.shape[1] for line in lines)
    padded = [
        cv2.copyMakeBorder(line, 0, GAP, 0, width - line.shape[1], cv2.BORDER_CONSTANT, value=(255,) * 3)
        for line in lines
    ]
    return np.concatenate(padded)
