"""People in miniature: coloured patterns for faces, networks that know them, and outputs that leak or don't."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.audit import Audit, audit
from synthgen.auditing.attackers import crop
from synthgen.auditing.pairs import pairs_of_folders
from synthgen.auditing.spec import AttackerSpec, AuditSpec, InverterSpec
from synthgen.detectors.base import Detector, DetectorRun
from synthgen.embedders.base import Embedder, EmbedderRun
from synthgen.extractors.canny import Canny
from synthgen.images import encode_image
from synthgen.metrics.privacy.trials import AttackResult
from synthgen.recognizers.base import Embeddings, LoadedRecognizer, Recognizer, Subject
from synthgen.types import Box, Image, Region, Sample

SIZE = 64
FACE = Box(20, 16, 44, 48)
HEAD = Box(14, 8, 50, 54)


class LoadedPatterns(LoadedRecognizer):
    width, threshold = 192, 1.0

    def embed(self, images: Sequence[Image], boxes: Sequence[Box]) -> Embeddings:
        """The face at 8×8 pixels, less its mean, of unit length."""
        small = [crop(image, box, 8).astype(np.float32).ravel() for image, box in zip(images, boxes, strict=True)]
        rows = np.stack([one - one.mean() for one in small])
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


class Patterns(Recognizer):
    kind: Literal["patterns"] = "patterns"
    subject: Subject = "face"

    def digest(self) -> str:
        return hashlib.sha256(b"patterns").hexdigest()

    def load(self, device: str) -> LoadedRecognizer:
        return LoadedPatterns()


class Gradients(Embedder):
    """Another network: where the picture is steep."""

    title: ClassVar[str] = "gradients"
    kind: Literal["gradients"] = "gradients"

    def weights(self) -> tuple[str, ...]:
        return ()

    def digest(self) -> str:
        return hashlib.sha256(b"gradients").hexdigest()

    def load(self, device: str) -> EmbedderRun:
        def run(images: Sequence[Image]) -> NDArray[np.float32]:
            rows = []
            for image in images:
                small = cv2.resize(image, (12, 12), interpolation=cv2.INTER_AREA).astype(np.float32)
                rows.append(np.concatenate([np.diff(small, axis=axis).ravel() for axis in (0, 1)]))
            return np.stack(rows).astype(np.float32)

        return run


class Middle(Detector):
    """Everyone's face is in the middle, unless the picture is grey all over."""

    kind: Literal["middle"] = "middle"

    def load(self, device: str) -> DetectorRun:
        def detect(samples: Sequence[Sample]) -> list[list[Region]]:
            found = [Region("face", FACE, 1.0, "detector"), Region("head", HEAD, 1.0, "detector")]
            return [found if sample.image.std() > 1 else [] for sample in samples]

        return detect


def spec(**changes: Any) -> AuditSpec:
    values: dict[str, Any] = {
        "attackers": (
            AttackerSpec(name="patterns", recognizer=Patterns()),
            AttackerSpec(name="gradients", features=Gradients(), region="head"),
        ),
        "detect": (Middle(),),
        "scenes": Gradients(),
        "maps": (Canny(sigma=0.1),),
        "inverter": None,
        "text": False,
    }
    return AuditSpec(**(values | changes))


def person(who: int) -> NDArray[np.uint8]:
    return np.random.default_rng([1, who]).integers(0, 255, (8, 6, 3)).astype(np.uint8)


def portrait(who: int, photo: int) -> Image:
    """The person's pattern as their face, with hair, on a background of its own, with grain."""
    random = np.random.default_rng([2, who, photo])
    image = cv2.resize(random.integers(0, 255, (4, 4, 3)).astype(np.uint8), (SIZE, SIZE))
    image[8:54, 14:50] = person(who)[0, 0]
    image[16:48, 20:44] = cv2.resize(person(who), (24, 32), interpolation=cv2.INTER_NEAREST)
    return np.clip(image.astype(np.int16) + random.integers(-12, 13, image.shape), 0, 255).astype(np.uint8)


def stranger(who: int, photo: int) -> Image:
    """An output in which nothing is left."""
    return portrait(10_000 + 100 * who + photo, photo)


Anonymiser = Callable[[int, int], Image]


def write_crowd(root: Path, people: int, photos: int, draw: Anonymiser) -> Path:
    for who in range(people):
        for photo in range(photos):
            path = root / f"p{who:03d}" / f"p{who:03d} photo {photo} é.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_image(draw(who, photo), ".png"))
    return root


def write_identities(path: Path, people: int, photos: int, shuffle: bool = False) -> Path:
    names = [f"p{who:03d}" for who in range(people) for _ in range(photos)]
    said = np.random.default_rng(0).permutation(names).tolist() if shuffle else names
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["identity", "file", "band"])
        for place, (name, identity) in enumerate(zip(names, said, strict=True)):
            writer.writerow([identity, f"{name} photo {place % photos} é.png", "AB"[int(identity[1:]) % 2]])
    return path


def audited(
    folder: Path, people: int, photos: int, draw: Anonymiser, shuffle: bool = False, **changes: Any
) -> tuple[Audit, dict[str, AttackResult]]:
    """The audit of a crowd, and its attacks by name and attacker."""
    real = write_crowd(folder / "real", people, photos, portrait)
    made = write_crowd(folder / "made", people, photos, draw)
    identities = write_identities(folder / "who is who.csv", people, photos, shuffle)
    result = audit(pairs_of_folders(real, made, identities, None), spec(**changes), folder / "cache")
    return result, {f"{one.attack}/{one.attacker}": one for one in result.attacks}


def with_inverter(steps: int) -> InverterSpec:
    return InverterSpec(steps=steps, batch_size=8, min_pairs=40)
