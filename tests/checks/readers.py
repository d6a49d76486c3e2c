"""A drawn street, a segmenter that was really trained to read it, and a detector of one colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import (
    SegformerConfig,
    SegformerForSemanticSegmentation,
    YolosConfig,
    YolosForObjectDetection,
)
from transformers.models.segformer.image_processing_pil_segformer import SegformerImageProcessorPil
from transformers.models.yolos.image_processing_pil_yolos import YolosImageProcessorPil

from synthgen.types import ClassIds, ClassInfo, Image

NAMES = ("Sky", "Road", "Car", "Sign")
COLOURS = ((110, 160, 220), (90, 90, 95), (200, 40, 40), (240, 220, 60))
VOID = 4
CLASSES = (*(ClassInfo(place, name) for place, name in enumerate(NAMES)), ClassInfo(VOID, "Void", ignore=True))
SIZE = (128, 96)
CARS = ((8, 56, 36, 28), (50, 60, 32, 24), (90, 52, 30, 30))
"""x, y, width, height."""
SIGN = (60, 8, 16, 28)
SHARPNESS = 10.0
"""Logits of a least-squares fit lie within 0..1; this makes probabilities of them."""


def layout(cars: tuple[tuple[int, int, int, int], ...] = CARS, sign: bool = True) -> ClassIds:
    """Sky over a road with cars, and a sign."""
    ids = np.zeros(SIZE[::-1], np.int32)
    ids[48:] = 1
    for x, y, width, height in cars:
        ids[y : y + height, x : x + width] = 2
    if sign:
        x, y, width, height = SIGN
        ids[y : y + height, x : x + width] = 3
    return ids


def paint(ids: ClassIds, seed: int) -> Image:
    """Classes in their colours, each a little different in every picture, with grain; void is grey."""
    random = np.random.default_rng(seed)
    colours = np.array([*COLOURS, (128, 128, 128)], np.float64)
    colours = colours + random.integers(-12, 13, (len(colours), 1))
    return (colours[ids] + random.normal(0, 8, (*ids.shape, 3))).clip(0, 255).astype(np.uint8)


def random_layout(seed: int) -> ClassIds:
    random = np.random.default_rng(seed)
    cars = []
    for _ in range(int(random.integers(1, 4))):
        width, height = (int(value) for value in random.integers(20, 40, 2))
        cars.append((int(random.integers(0, SIZE[0] - width)), int(random.integers(30, 96 - height)), width, height))
    return layout(tuple(cars), bool(random.random() < 0.7))


def fit_reader(folder: Path, names: tuple[str, ...] = NAMES) -> Path:
    """A SegFormer that reads these streets, with its processor: random features, the last layer fitted to drawn ones.

    A closed form in place of training: least squares from what the decoder gives to the classes.
    """
    torch.manual_seed(0)
    config = SegformerConfig(
        depths=[1] * 4,
        hidden_sizes=[32, 8, 8, 8],
        num_attention_heads=[1] * 4,
        decoder_hidden_size=64,
        id2label=dict(enumerate(names)),
        label2id={name: place for place, name in enumerate(names)},
    )
    model = SegformerForSemanticSegmentation(config).eval()
    processor = SegformerImageProcessorPil(size={"height": SIZE[1], "width": SIZE[0]})
    head = model.decode_head
    features, classes = [], []
    head.classifier.register_forward_pre_hook(lambda _, given: features.append(given[0]))
    with torch.no_grad():
        for seed in range(16):
            ids = random_layout(seed)
            model(**processor(images=[paint(ids, seed)], return_tensors="pt"))
            classes.append(torch.from_numpy(ids[2::4, 2::4].astype(np.int64)))
        rows = torch.cat([one[0].flatten(1).T for one in features])
        rows = torch.cat([rows, torch.ones(len(rows), 1)], dim=1)
        wanted = torch.nn.functional.one_hot(torch.stack(classes).flatten(), len(NAMES)).float()
        share = wanted.mean(dim=0)[wanted.argmax(dim=1)].rsqrt()[:, None]
        weights = torch.linalg.lstsq(rows * share, wanted * share).solution * SHARPNESS
        head.classifier.weight.copy_(weights[:-1].T[..., None, None])
        head.classifier.bias.copy_(weights[-1])
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


CELL, CELLS = 16, 4
"""Pixels along a cell of a picture of `CELLS` × `CELLS` cells, and how many there are."""


def draw_cells(filled: tuple[int, ...], seed: int) -> Image:
    """Red cells (cars) on grey, with grain."""
    random = np.random.default_rng(seed)
    image = np.full((CELL * CELLS, CELL * CELLS, 3), 100.0) + random.normal(0, 6, (CELL * CELLS, CELL * CELLS, 3))
    for place in filled:
        y, x = (CELL * part for part in divmod(place, CELLS))
        image[y : y + CELL, x : x + CELL] += (110, -60, -60)
    return image.clip(0, 255).astype(np.uint8)


def fit_detector(folder: Path) -> Path:
    """A YOLOS that finds red cells, with its processor: one query for each cell, which attends to that cell's patch.

    The attention is set by hand; the last layers of the two heads are fitted to drawn pictures by least squares.
    """
    torch.manual_seed(0)
    cells, width, colour = CELLS**2, 64, slice(CELLS**2, CELLS**2 + 3)
    config = YolosConfig(
        hidden_size=width,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        image_size=[CELL * CELLS] * 2,
        patch_size=CELL,
        num_detection_tokens=cells,
        use_mid_position_embeddings=False,
        id2label={0: "Car"},
        label2id={"Car": 0},
    )
    model = YolosForObjectDetection(config).eval()
    processor = YolosImageProcessorPil(size={"height": CELL * CELLS, "width": CELL * CELLS})
    code = torch.zeros(width, width)
    code[range(cells), range(cells)] = 3.0
    seen = torch.zeros(width, width)
    seen[colour, colour] = torch.eye(3) * 4
    with torch.no_grad():
        embeddings, layer = model.vit.embeddings, model.vit.encoder.layer[0]
        for parameter in (*embeddings.parameters(), *layer.attention.parameters(), *layer.output.parameters()):
            parameter.zero_()
        projection = embeddings.patch_embeddings.projection.weight
        projection[list(range(cells, cells + 3)), [0, 1, 2]] = 2 / CELL**2
        places = embeddings.position_embeddings[0]
        places[1 : cells + 1, :cells] = places[cells + 1 :, :cells] = 10 * torch.eye(cells)
        attention = layer.attention.attention
        for matrix, value in ((attention.query, code), (attention.key, code), (attention.value, seen)):
            matrix.weight.copy_(value)
        layer.attention.output.dense.weight.copy_(torch.eye(width))
        fit_heads(model, processor)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def fit_heads(model: YolosForObjectDetection, processor: YolosImageProcessorPil) -> None:
    """Least squares from the heads' features to the logits of 60 pictures."""
    random = np.random.default_rng(0)
    heads = {"class_labels_classifier": [], "bbox_predictor": []}
    for name, kept in heads.items():
        getattr(model, name).layers[-1].register_forward_pre_hook(lambda _, given, kept=kept: kept.append(given[0][0]))
    centres = (torch.tensor([divmod(place, CELLS)[::-1] for place in range(CELLS**2)]) + 0.5) / CELLS
    boxes = torch.cat([centres, torch.full_like(centres, 1 / CELLS)], dim=1).logit()
    wanted = {"class_labels_classifier": [], "bbox_predictor": []}
    for seed in range(60):
        filled = tuple(int(place) for place in random.permutation(CELLS**2)[:5])
        model(**processor(images=[draw_cells(filled, seed)], return_tensors="pt"))
        car = torch.tensor([place in filled for place in range(CELLS**2)])
        wanted["class_labels_classifier"].append(torch.stack([car, ~car], dim=1) * 8.0)
        wanted["bbox_predictor"].append(boxes)
    for name, kept in heads.items():
        rows = torch.cat(kept)
        rows = torch.cat([rows, torch.ones(len(rows), 1)], dim=1)
        weights = torch.linalg.lstsq(rows, torch.cat(wanted[name]), driver="gelsd").solution
        last = getattr(model, name).layers[-1]
        last.weight.copy_(weights[:-1].T)
        last.bias.copy_(weights[-1])
