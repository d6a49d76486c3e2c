"""Faults 29 to 34: weights that may not be loaded, memory that runs out, pictures that are none, faces not found."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.datasets_for_tests import SIZE, street, tree, write_image, write_streets
from tests.faults.lab import Ended, Fault, Lab


class Planted:
    """Touches a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def with_model(lab: Lab, model: str | Path) -> Ended:
    """The streets with another base model."""
    value = lab.paint(lab.streets)
    value["generate"]["model"] = str(model)
    return lab.run(value)


def pickles(lab: Lab) -> str:
    told = ""
    for suffix in (".bin", ".ckpt"):
        folder = lab.folder()
        model = shutil.copytree(lab.tiny / "base", folder / "base")
        (weights,) = (model / "unet").glob("*.safetensors")
        weights.with_suffix(suffix).write_bytes(pickle.dumps(Planted(folder / "ran")))
        weights.unlink()
        told = with_model(lab, model).stopped("pickle", suffix)
        assert not (folder / "ran").exists()
    return told


def remote_code(lab: Lab) -> str:
    marker = lab.folder() / "ran"
    code = f"from pathlib import Path\nPath({str(marker)!r}).touch()\n"
    told = ""
    for name, text in (("unet/model.py", code), ("pipeline.py", code), ("unet/config.json", "")):
        model = shutil.copytree(lab.tiny / "base", lab.folder() / "base")
        if not text:
            text = json.dumps(json.loads((model / name).read_text()) | {"auto_map": {"AutoModel": "model.Net"}})
        (model / name).write_text(text)
        told = with_model(lab, model).stopped("code of its own", name)
    assert not marker.exists()
    return told


def unpinned(lab: Lab) -> str:
    for ref in ("someone/some-model", "someone/some-model@main", "someone/some-model:unet@v1.0"):
        with_model(lab, ref).stopped("unpinned", "--pin")
    return with_model(lab, f"{lab.tiny / 'base'}#sha256:{'0' * 64}").stopped("expected sha256")


def out_of_memory(lab: Lab) -> str:
    """The first call of the UNet on a batch fails as CUDA's allocator does; more in tests/generators/."""
    import diffusers
    import torch

    real, failures = diffusers.UNet2DConditionModel.forward, 0

    def forward(self: Any, sample: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal failures
        if sample.shape[0] > 1 and not failures:
            failures += 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(self, sample, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diffusers.UNet2DConditionModel, "forward", forward)
        ended = lab.run(lab.paint(lab.streets))
    assert failures == 1 and ended.status == 0, ended.err
    assert ended.codes == lab.finished.codes
    assert [row.seed for row in ended.rows] == [row.seed for row in lab.finished.rows]
    assert any("out of memory" in row.message for row in ended.rows), "the ledger tells whose batch was another"
    return "smaller batch, logged, seeds unchanged · the run ended with every output"


# ---- pictures that are none


def spoil_vae(folder: Path, lab: Lab, value: float) -> Path:
    """The tiny model with a decoder that paints NaN, or black."""
    import torch
    from safetensors.torch import load_file, save_file

    model = shutil.copytree(lab.tiny / "base", folder / "base")
    (path,) = (model / "vae").glob("*.safetensors")
    weights = load_file(path)
    weights["decoder.conv_out.bias"] = torch.full_like(weights["decoder.conv_out.bias"], value)
    weights["decoder.conv_out.weight"] = torch.zeros_like(weights["decoder.conv_out.weight"])
    save_file(weights, path, {"format": "pt"})
    return model


def add_safety_checker(folder: Path, lab: Lab) -> Path:
    """The tiny model with a safety checker that flags everything."""
    import torch
    import transformers
    from diffusers import StableDiffusionPipeline
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker

    torch.manual_seed(0)
    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    vision |= {"image_size": 16, "patch_size": 8}
    text = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    checker = StableDiffusionSafetyChecker(
        transformers.CLIPConfig(vision_config=vision, text_config=text, projection_dim=8)
    )
    with torch.no_grad():
        checker.concept_embeds_weights.fill_(-2)
    pipe = StableDiffusionPipeline.from_pretrained(lab.tiny / "base", safety_checker=None)
    parts = {name: getattr(pipe, name) for name in ("vae", "text_encoder", "tokenizer", "unet", "scheduler")}
    size = {"height": 16, "width": 16}
    processor = transformers.CLIPImageProcessor(size=size, crop_size=size)
    StableDiffusionPipeline(**parts, safety_checker=checker, feature_extractor=processor).save_pretrained(
        folder / "base"
    )
    return folder / "base"


def black(lab: Lab) -> str:
    told = []
    root = write_streets(lab.folder() / "source", bad=False, names=("images/train/a.png", "images/val/b.png"))
    models: dict[str, Callable[[Path], Path]] = {
        "NaN": lambda folder: spoil_vae(folder, lab, float("nan")),
        "black": lambda folder: spoil_vae(folder, lab, -50.0),
        "flagged": lambda folder: add_safety_checker(folder, lab),
    }
    for name, make in models.items():
        value = lab.paint(root, attempts=3, check=[])
        value["generate"] |= {"model": str(make(lab.folder())), "safety_checker": name == "flagged"}
        ended = lab.run(value)
        assert ended.quarantined(accepted=0).startswith("Q output-black"), ended.codes
        assert {row.attempts for row in ended.rows} == {3}
        assert {row.seed for row in ended.rows}.isdisjoint({0})
        told.append(f"{name}: {len(ended.rows)} × 3 attempts")
    return f"bounded retries, then Q output-black · {', '.join(told)}"


# ---- faces


FACE, PERSON = 1, 2
MISSES = "centerface"
"""A real detector, and pictures of noise in which it finds nothing."""


def write_people(root: Path, objects: dict[str, list[tuple[int, list[int]]]]) -> Path:
    """COCO objects of the classes face and person: name → (class, box) of each."""
    images, rows = [], []
    for number, (name, found) in enumerate(objects.items()):
        write_image(root / f"images/{name}.png", street(number)[0])
        images.append({"id": number, "file_name": f"{name}.png", "width": SIZE[0], "height": SIZE[1]})
        for category, box in found:
            rows.append({"id": len(rows), "image_id": number, "category_id": category, "bbox": box, "iscrowd": 0})
    categories = [{"id": FACE, "name": "face"}, {"id": PERSON, "name": "person"}]
    (root / "annotations").mkdir()
    table = {"images": images, "annotations": rows, "categories": categories}
    (root / "annotations/instances_train.json").write_text(json.dumps(table))
    return root


def missed_face(lab: Lab) -> str:
    face, person = (FACE, [30, 12, 6, 8]), (PERSON, [26, 10, 14, 34])
    root = write_people(lab.folder() / "source", {"with-person": [face, person], "alone": [face], "nobody": []})
    value = lab.paint(root, extract=["canny"], protect=["edges"], source={"format": "coco", "path": str(root)})
    value["generate"]["controlnets"] = value["generate"]["controlnets"][:1]
    names = [f"images/{name}.png" for name in ("with-person", "alone", "nobody")]

    second = lab.run(value | {"detect": [MISSES, "labels"]})
    regions = {row.sample_id: row.regions for row in second.rows}
    assert not any(second.codes.values()) and len(second.codes) == 3, (second.codes, second.err)
    assert all(regions[name]["face"] == regions[name]["head"] == 1 for name in names[:2]), regions
    persons = lab.run(value | {"detect": [MISSES, {"kind": "labels", "classes": ["person"]}]})
    regions = {row.sample_id: row.regions for row in persons.rows}
    assert regions[names[0]] == {"head": 1, "person": 1}, "the whole box of the person, with a head where it should be"
    assert persons.codes == {names[0]: "", names[1]: "face-missed", names[2]: ""}, persons.codes
    alone = lab.run(value | {"detect": [MISSES]})
    assert alone.codes == {names[0]: "face-missed", names[1]: "face-missed", names[2]: ""}, alone.codes
    assert {name for name in tree(alone.root / "release") if name in names} == {names[2]}
    return "second detector, else person, else Q face-missed · 3, 2 and 1 of 3 released"


FAULTS = (
    Fault(29, "pickled .bin, .ckpt", "X", pickles),
    Fault(30, "repository with code of its own", "X", remote_code),
    Fault(31, "unpinned revision, wrong digest", "X", unpinned),
    Fault(32, "out of memory in the UNet", "smaller batch, logged, seeds unchanged", out_of_memory),
    Fault(33, "NaN, black, safety-flagged output", "bounded retries, then Q output-black", black),
    Fault(34, "detector misses a labelled face", "second detector, else person, else Q face-missed", missed_face),
)
