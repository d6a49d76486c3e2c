from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from transformers import AutoImageProcessor, SegformerForSemanticSegmentation

from synthgen.component import parse_component
from synthgen.extractors.segmentation import Segmentation
from synthgen.label_maps import labels_to_class_ids
from synthgen.palettes import load_palette
from synthgen.types import BadSample, Box, ClassInfo, ConfigError, Instance, Labels

from .conftest import (
    LABELS,
    make_image,
    make_sample,
    save_dpt,
    save_mask2former,
    save_oneformer,
    save_segformer,
    save_upernet,
)

CAMVID = (ClassInfo(0, "Sky"), ClassInfo(1, "Pedestrian"), ClassInfo(11, "Unlabelled", ignore=True))
SIZES = [(64, 48), (48, 64), (64, 48), (64, 48)]


def ids_of(*rows: list[int]) -> np.ndarray:
    return np.array(rows, dtype=np.int32)


def picture(shape: tuple[int, int]) -> np.ndarray:
    return np.zeros((*shape, 3), dtype=np.uint8)


def instance(class_id: int, *rows: list[int], outlined: bool = True) -> Instance:
    mask = np.array(rows, dtype=bool)
    return Instance(class_id, Box(0, 0, mask.shape[1], mask.shape[0]), mask if outlined else None)


@pytest.mark.parametrize(
    ("palette", "labels", "names"),
    [
        ("ade20k", Labels(CAMVID, ids_of([0, 1], [11, 0])), [["sky", "person"], ["unknown", "sky"]]),
        ("starter", Labels(CAMVID, ids_of([0, 1], [11, 0])), [["sky", "person"], ["unknown", "sky"]]),
        (
            "starter",  # the larger lies below, whatever the order; what nothing covers is unknown
            Labels(CAMVID, None, (instance(1, [0, 1, 0]), instance(0, [1, 1, 0]))),
            [["sky", "person", "unknown"]],
        ),
        (
            "starter",  # a mask goes before instances
            Labels(CAMVID, ids_of([0, 0]), (instance(1, [1, 1]),)),
            [["sky", "sky"]],
        ),
    ],
)
def test_labels_are_painted(palette: str, labels: Labels, names: list[list[str]]) -> None:
    spec = Segmentation(palette=palette, model=None)
    spec.check_classes(labels.classes)
    (control,) = spec.load("cpu")([make_sample(picture((len(names), len(names[0]))), labels)])
    assert control.ids is not None
    assert control.ids.dtype == np.int32
    assert [[control.names[value] for value in row] for row in control.ids] == names
    colors = {entry.name: list(entry.color) for entry in load_palette(palette).classes} | {"unknown": [0, 0, 0]}
    assert control.image.tolist() == [[colors[name] for name in row] for row in names]
    assert control.names == load_palette(palette).names


def test_ids_need_not_be_dense_or_positive() -> None:
    classes = (ClassInfo(-5, "Sky"), ClassInfo(65535, "Car"))
    labels = Labels(classes, ids_of([65535, -5]))
    (control,) = Segmentation(palette="ade20k", model=None).load("cpu")([make_sample(picture((1, 2)), labels)])
    assert [control.names[value] for value in control.ids[0]] == ["car", "sky"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("labels", "code"),
    [
        (Labels(CAMVID, ids_of([0, 7])), "unknown-class"),
        (Labels((), ids_of([0, 0])), "unknown-class"),
        (Labels(CAMVID, ids_of([0], [0])), "mask-size-mismatch"),
        (Labels(CAMVID, None, (instance(0, [1, 1], [1, 1]),)), "mask-size-mismatch"),
        (Labels(CAMVID, None, (instance(0, [1, 1]), instance(1, [1, 1], outlined=False))), "segmentation-no-labels"),
        (Labels(CAMVID), "segmentation-no-labels"),
    ],
)
def test_bad_labels_quarantine_the_sample(labels: Labels, code: str) -> None:
    run = Segmentation(palette="ade20k", model=None).load("cpu")
    with pytest.raises(BadSample) as caught:
        run([make_sample(picture((1, 2)), labels)])
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("keys", "classes", "said"),
    [
        ({}, (*CAMVID, ClassInfo(3, "Spaceship")), "'Spaceship'.*extract.<i>.class_map"),
        ({"class_map": "voc"}, CAMVID, "'Sky'.*extract.<i>.class_map"),
        ({"class_map": {"Sky": "sky", "Pedestrian": "walker"}}, CAMVID, "'walker'.*extract.<i>.class_map"),
        ({"class_map": {"sky": "sky", "PEDESTRIAN": None}}, CAMVID, None),
        ({}, (ClassInfo(0, "Spaceship", ignore=True),), None),
        ({}, (), None),
    ],
)
def test_check_classes(keys: dict[str, Any], classes: tuple[ClassInfo, ...], said: str | None) -> None:
    spec = Segmentation(palette="ade20k", model=None, **keys)
    if said is None:
        spec.check_classes(classes)
    else:
        with pytest.raises(ConfigError, match=said):
            spec.check_classes(classes)


def test_files_named_in_the_config_are_read_into_it(tmp_path: Path) -> None:
    palette, class_map = tmp_path / "palette.yaml", tmp_path / "map.yaml"
    palette.write_text("- {name: up, color: [1, 2, 3]}\n- {name: down, color: [4, 5, 6], part_of: up}\n")
    class_map.write_text("Sky: up\nPedestrian: down\n")
    spec = Segmentation(palette=str(palette), class_map=str(class_map), model=None)
    palette.unlink(), class_map.unlink()
    again = parse_component("extractors", json.loads(spec.model_dump_json()))
    assert again == spec
    labels = Labels(CAMVID, ids_of([0, 1, 11]))
    (control,) = again.load("cpu")([make_sample(picture((1, 3)), labels)])
    assert control.image.tolist() == [[[1, 2, 3], [4, 5, 6], [0, 0, 0]]]
    assert control.names == ("unknown", "up", "down")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"palette": "pantone"}, "pantone"),
        ({"palette": [{"name": "a", "color": [0, 0, 0]}]}, "black"),
        ({"class_map": "atlantis"}, "atlantis"),
        ({"prefer": "model", "model": None}, "prefer"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_bad_keys_are_refused(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Segmentation(**keys)


@pytest.mark.parametrize("save", [save_segformer, save_upernet, save_mask2former, save_oneformer])
@pytest.mark.parametrize("palette", ["starter", "ade20k"])
def test_every_segmenter_class_gives_maps_of_the_pictures_sizes(
    save: Callable[[Path], None], palette: str, tmp_path: Path
) -> None:
    save(tmp_path)
    samples = [make_sample(make_image(seed, size)) for seed, size in enumerate(SIZES)]
    run = Segmentation(model=str(tmp_path), palette=palette, batch_size=3).load("cpu")
    together = run(samples)
    allowed = {"person" if name == "hair" and palette == "ade20k" else name for name in LABELS}
    seen: set[str] = set()
    for control, sample in zip(together, samples, strict=True):
        assert control.ids is not None
        assert control.ids.shape == sample.image.shape[:2]
        assert np.array_equal(control.image, load_palette(palette).paint(control.ids))
        assert np.array_equal(control.ids, run([sample])[0].ids)
        seen |= {control.names[value] for value in np.unique(control.ids)}
    assert len(seen) > 1
    assert seen <= allowed


def test_the_models_ids_are_the_libraries_upsampled_argmax(tmp_path: Path) -> None:
    save_segformer(tmp_path)
    image = make_image(5, (90, 50))
    (control,) = Segmentation(model=str(tmp_path)).load("cpu")([make_sample(image)])
    processor = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    model = SegformerForSemanticSegmentation.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        logits = model(**processor(images=[image], return_tensors="pt")).logits
    expected = torch.nn.functional.interpolate(logits, (50, 90), mode="bilinear", align_corners=False).argmax(1)[0]
    assert [[control.names[v] for v in row] for row in control.ids] == [  # type: ignore[union-attr]
        [LABELS[v] for v in row] for row in expected.tolist()
    ]


@pytest.mark.parametrize(("prefer", "from_labels"), [("labels", [True, False]), ("model", [False, False])])
def test_prefer_decides_who_paints(prefer: str, from_labels: list[bool], tmp_path: Path) -> None:
    save_segformer(tmp_path)
    image = make_image(2)
    labels = Labels(CAMVID, np.full(image.shape[:2], 11, dtype=np.int32))
    samples = [make_sample(image, labels), make_sample(image, Labels(CAMVID))]
    controls = Segmentation(model=str(tmp_path), prefer=prefer).load("cpu")(samples)
    assert [not control.image.any() for control in controls] == from_labels


def test_masks_need_no_weights_but_a_missing_model_stops_the_run(tmp_path: Path) -> None:
    save_segformer(tmp_path)
    labels = Labels(CAMVID, ids_of([0, 1]))
    run = Segmentation(model=str(tmp_path)).load("cpu")
    (tmp_path / "model.safetensors").write_bytes(b"not read for a mask")
    run([make_sample(picture((1, 2)), labels)])
    with pytest.raises(ConfigError, match="can't load it"):
        run([make_sample(make_image())])
    with pytest.raises(ConfigError, match="nowhere"):
        Segmentation(model="./nowhere").load("cpu")


@pytest.mark.parametrize(
    ("save", "keys", "said"),
    [
        (save_dpt, {}, "DPTForDepthEstimation.*ForSemanticSegmentation"),
        (lambda folder: save_segformer(folder, ("sky", "spaceship")), {}, "spaceship.*model_class_map"),
        (save_segformer, {"model_class_map": {"sky": "sky"}}, "'building'.*model_class_map"),
    ],
)
def test_wrong_models_stop_before_work(
    save: Callable[[Path], None], keys: dict[str, Any], said: str, tmp_path: Path
) -> None:
    save(tmp_path)
    with pytest.raises(ConfigError, match=said):
        Segmentation(model=str(tmp_path), **keys).load("cpu")


def test_threads_share_one_segmenter(tmp_path: Path) -> None:
    save_segformer(tmp_path)
    run = Segmentation(model=str(tmp_path)).load("cpu")
    samples = [make_sample(make_image(seed)) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(lambda sample: run([sample])[0].ids, samples))
    assert all(np.array_equal(ids, run([sample])[0].ids) for ids, sample in zip(threaded, samples, strict=True))


def test_weights_are_named_for_the_run_id() -> None:
    assert Segmentation().weights() == ("starter/segmenter",)
    assert Segmentation(model=None).weights() == ()


def test_instances_of_one_size_keep_their_order() -> None:
    labels = Labels(CAMVID, None, (instance(0, [1, 1]), instance(1, [1, 1])))
    assert labels_to_class_ids(labels, (1, 2)).tolist() == [[1, 1]]  # type: ignore[union-attr]
