"""HED and line art on random networks of controlnet_aux's own classes."""

from __future__ import annotations

import importlib.util
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from synthgen.component import parse_component
from synthgen.extractors._annotators import network_module
from synthgen.extractors.hed import Hed
from synthgen.extractors.lineart import Lineart
from synthgen.types import ConfigError

from .conftest import make_image, make_sample

INSTALLED = importlib.util.find_spec("controlnet_aux") is not None and importlib.util.find_spec("einops") is not None
needs_package = pytest.mark.skipif(not INSTALLED, reason="needs the extra: pip install 'synthgen[annotators]'")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
SIZES = [(64, 48), (48, 64), (64, 48), (50, 38), (64, 48)]


def build(kind: str) -> Any:
    torch.manual_seed(0)
    if kind == "hed":
        network = network_module("hed").ControlNetHED_Apache2()
        for parameter in network.parameters():
            parameter.data *= 1.6  # keeps the signal of a random network alive down to its fifth block
        return network
    return network_module("lineart").Generator(3, 1, 3)


def extractor(kind: str, **keys: Any) -> Any:
    return parse_component("extractors", {"kind": kind, **keys})


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {}
    for kind, file in [("hed", "ControlNetHED.safetensors"), ("lineart", "sk_model.safetensors")]:
        folders[kind] = tmp_path_factory.mktemp(kind)
        save_file(build(kind).state_dict(), folders[kind] / file)
    return folders


def as_the_detector_does(kind: str, network: Any, image: np.ndarray) -> np.ndarray:
    """What controlnet_aux's detectors compute for one picture whose sides need no resizing."""
    import cv2

    height, width = image.shape[:2]
    pixels = torch.from_numpy(image).float().permute(2, 0, 1)[None]
    with torch.no_grad():
        if kind == "lineart":
            line = network.eval()(pixels / 255)[0][0].numpy()
            return 255 - (line * 255).clip(0, 255).astype(np.uint8)
        logits = [value.numpy()[0, 0] for value in network(pixels)]
    resized = [cv2.resize(value, (width, height), interpolation=cv2.INTER_LINEAR) for value in logits]
    edge = 1 / (1 + np.exp(-np.mean(resized, axis=0, dtype=np.float64)))
    return (edge * 255).clip(0, 255).astype(np.uint8)


@needs_package
@pytest.mark.parametrize("kind", ["hed", "lineart"])
def test_maps_are_those_of_the_librarys_detector(kind: str, saved: dict[str, Path]) -> None:
    image = make_image(0, (64, 48))
    (control,) = extractor(kind, model=str(saved[kind])).load("cpu")([make_sample(image)])
    expected = as_the_detector_does(kind, build(kind), image)
    assert control.kind == kind
    assert control.image.dtype == np.uint8
    assert expected.std() > 1
    assert (control.image == control.image[..., :1]).all()
    assert np.abs(control.image[..., 0].astype(int) - expected).max() <= 1


@needs_package
@pytest.mark.parametrize("kind", ["hed", "lineart"])
def test_a_map_does_not_depend_on_its_batch(kind: str, saved: dict[str, Path]) -> None:
    samples = [make_sample(make_image(seed, size)) for seed, size in enumerate(SIZES)]
    run = extractor(kind, model=str(saved[kind]), batch_size=2).load("cpu")
    together = run(samples)
    assert [control.image.shape[1::-1] for control in together] == SIZES
    assert not np.array_equal(together[0].image, together[2].image)
    for control, sample in zip(together, samples, strict=True):
        assert np.array_equal(control.image, run([sample])[0].image)


@needs_package
def test_the_packages_own_init_is_not_run() -> None:
    before = set(sys.modules)
    network_module("hed")
    assert not {name for name in set(sys.modules) - before if name.split(".")[0] in ("controlnet_aux", "timm")}


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'synthgen\[annotators\]'"):
        network_module("hed")


@needs_package
def test_weights_of_another_network_are_refused(saved: dict[str, Path]) -> None:
    spec = Hed(model=str(saved["lineart"]), file="sk_model.safetensors")
    with pytest.raises(ConfigError, match="does not hold the weights of ControlNetHED_Apache2"):
        spec.load("cpu")


@needs_package
def test_a_missing_file_is_named_with_those_there(saved: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match=r"sk_model2\.safetensors.*sk_model\.safetensors.*change file"):
        Lineart(model=str(saved["lineart"]), file="sk_model2.safetensors").load("cpu")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"file": "../ControlNetHED.safetensors"}, "without folders"),
        ({"file": "ControlNetHED.pth"}, "safetensors"),
        ({"format": "pth"}, "pth"),
        ({"file": "net.pkl", "format": "pkl"}, "pth"),
    ],
)
def test_bad_keys_are_refused(keys: dict, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Hed(model="somewhere", **keys)


@pytest.fixture
def cached_pth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache with one pinned snapshot of one file, as a download leaves it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--org--annotators" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    return snapshot / "ControlNetHED.pth"


@needs_package
def test_pth_of_a_pinned_repository_is_read(cached_pth: Path) -> None:
    network = build("hed")
    torch.save(network.state_dict(), cached_pth)
    image = make_image(0, (64, 48))
    spec = Hed(model=f"org/annotators@{COMMIT}", file="ControlNetHED.pth", format="pth")
    (control,) = spec.load("cpu")([make_sample(image)])
    assert np.abs(control.image[..., 0].astype(int) - as_the_detector_does("hed", network, image)).max() <= 1


class Payload:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("ran"),))


@needs_package
def test_pth_with_code_runs_none_of_it(cached_pth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cached_pth.write_bytes(pickle.dumps(Payload(), protocol=2))
    with pytest.raises(ConfigError, match="does not hold the weights"):
        Hed(model=f"org/annotators@{COMMIT}", file="ControlNetHED.pth", format="pth").load("cpu")
    assert not (tmp_path / "ran").exists()


@needs_package
@pytest.mark.parametrize("ref", ["org/annotators", "org/annotators@main", "./folder", f"org/other@{COMMIT}"])
def test_pth_from_elsewhere_is_refused(cached_pth: Path, ref: str) -> None:
    with pytest.raises(ConfigError, match=r"pinned hub repository only|can't be downloaded"):
        Hed(model=ref, file="ControlNetHED.pth", format="pth").load("cpu")
