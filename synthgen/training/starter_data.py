"""What the starter learns from, packed once: edges, classes, protected pixels, captions, and latents of every variant.

Three packs a source: `crops` (photographs and classes) and `maps` (edges, protected pixels) have a row for each crop,
`latents` has one for each crop and variant, encoded by the trained autoencoder. Captions are read off the photograph as
it is, so a night's caption names colours that the crop has by day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from synthgen.extractors.canny import canny_edges
from synthgen.palettes import Palette
from synthgen.plan import Plan, PlanSpec
from synthgen.seeds import derive_seed
from synthgen.training.captions import RULES
from synthgen.training.data import pack_crops
from synthgen.training.kinds import StarterSpec
from synthgen.training.pack import Pack, PackWriter, map_ahead, open_pack
from synthgen.training.photometric import DAY, VARIANTS, relight
from synthgen.training.pictures import images_to_tensor
from synthgen.training.spec import Captions, Source
from synthgen.types import ConfigError, Image, Mask
from synthgen.weights import digest_weights, resolve_weights

ENCODE_BATCH = 8


@dataclass(frozen=True, eq=False)
class StarterSource:
    """`crops` has `image` and `ids`; `maps` has `edges` and `protected` in the same rows; `latents` has more rows.

    A note of `latents` is {crop: row of the others, variant, caption}.
    """

    crops: Pack
    maps: Pack
    latents: Pack


def prepare_source(spec: StarterSpec, source: Source, palette: Palette, vae: Any) -> StarterSource:
    """Pack one source; what is there already is only opened. `vae` is on the device that shall encode.

    Raises:
        ConfigError: a caption column (a starter's captions come from pixels or prompts), or unknown classes.
    """
    cache = spec.out / "cache"
    crops = pack_crops(source, cache, spec.seed, palette, spec.execution.workers)
    maps = _pack_maps(spec, source, palette, crops, cache)
    return StarterSource(crops, maps, _pack_latents(spec, source, palette, crops, vae, cache))


def autoencoder_ref(spec: StarterSpec) -> str:
    """The weights reference of the autoencoder: the one that is named, or that of the starter to go on from.

    Raises:
        ConfigError: `start` has no autoencoder.
    """
    if spec.start is None:
        return spec.autoencoder or ""
    folder = resolve_weights(spec.start) / "vae"
    if not folder.is_dir():
        raise ConfigError(f"start: {spec.start} is no starter's folder: it has no vae")
    return str(folder)


def protected_ids(names: Sequence[str], palette: Palette) -> list[int]:
    """The ids of the classes and of their parts.

    Raises:
        ConfigError: a name that the palette lacks.
    """
    unknown = sorted(set(names) - set(palette.names))
    if unknown:
        raise ConfigError(f"sources.protect_classes: {unknown} are no classes of the palette {palette.name}")
    wanted = {*names, *(entry.name for entry in palette.classes if entry.part_of in names)}
    return [palette.id_of(name) for name in palette.names if name in wanted]


def protected_mask(ids: NDArray[np.uint8], classes: Sequence[int], radius: int) -> Mask:
    """The pixels of the classes, grown by a disc of `radius` pixels."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return cv2.dilate(np.isin(ids, classes).astype(np.uint8), disc) > 0


def _pack_maps(spec: StarterSpec, source: Source, palette: Palette, crops: Pack, cache: Path) -> Pack:
    classes = protected_ids(source.protect_classes, palette)
    low, high, sigma = spec.canny
    least, most = spec.protect_dilate

    def draw(row: int) -> dict[str, NDArray[Any]]:
        note = crops.notes[row]
        seed = derive_seed(spec.seed, note["id"], note["crop"], 0, "protect")
        radius = int(np.random.default_rng(seed).integers(least, most + 1))
        edges = canny_edges(crops["image"][row], low, high, sigma)
        return {"edges": edges, "protected": protected_mask(crops["ids"][row], classes, radius)}

    def build(writer: PackWriter) -> None:
        drawn = map_ahead(draw, range(len(crops)), spec.execution.workers)
        for found, note in zip(drawn, crops.notes, strict=True):
            writer.append(found, note)

    made_from = {
        "crops": crops.digest,
        "seed": spec.seed,
        "canny": spec.canny,
        "dilate": spec.protect_dilate,
        "classes": classes,
    }
    return open_pack(cache, "maps", made_from, build)


def _pack_latents(spec: StarterSpec, source: Source, palette: Palette, crops: Pack, vae: Any, cache: Path) -> Pack:
    captions = source.captions
    assert captions is not None
    write_caption = make_captioner(captions, palette, spec.seed)

    def light(row: int) -> list[tuple[Image, dict[str, Any]]]:
        note = crops.notes[row]
        image, ids = np.asarray(crops["image"][row]), np.asarray(crops["ids"][row])
        rng = np.random.default_rng(derive_seed(spec.seed, note["id"], note["crop"], 0, "variants"))
        sky = ids == palette.id_of("sky") if "sky" in palette.names else None
        lit = []
        for variant in (DAY, *map(str, rng.choice(VARIANTS, source.variants, replace=False))):
            about = {"crop": row, "variant": variant, "caption": write_caption(image, ids, variant, note)}
            lit.append((relight(image, variant, rng, sky), about))
        return lit

    def build(writer: PackWriter) -> None:
        waiting: list[tuple[Image, dict[str, Any]]] = []
        for row, lit in enumerate(map_ahead(light, range(len(crops)), spec.execution.workers)):
            waiting += lit
            while len(waiting) >= ENCODE_BATCH or (waiting and row == len(crops) - 1):
                now, waiting = waiting[:ENCODE_BATCH], waiting[ENCODE_BATCH:]
                for latent, (_, about) in zip(encode(vae, [image for image, _ in now]), now, strict=True):
                    writer.append({"latents": latent}, about)

    made_from = {
        "crops": crops.digest,
        "autoencoder": digest_weights(autoencoder_ref(spec)),
        "captions": captions.model_dump(),
        "prompts": captions.prompts and Plan(PlanSpec(prompts=captions.prompts), spec.seed).digest,
        "variants": source.variants,
        "seed": spec.seed,
    }
    return open_pack(cache, "latents", made_from, build)


@torch.no_grad()
def encode(vae: Any, images: Sequence[Image]) -> NDArray[np.float16]:
    """Images of one size → the means of their latents, unscaled, (n, channels, height, width)."""
    pixels = images_to_tensor(images).to(vae.device, vae.dtype)
    latents: NDArray[np.float16] = vae.encode(pixels).latent_dist.mode().half().cpu().numpy()
    return latents


def make_captioner(captions: Captions, palette: Palette, seed: int) -> Any:
    """(image, ids, variant, note) → caption.

    Raises:
        ConfigError: a column, or a rule of classes that the palette lacks.
    """
    if captions.column is not None:
        raise ConfigError("sources.captions.column: a starter reads its captions off the pixels; use rule or prompts")
    if captions.prompts is not None:
        plan = Plan(PlanSpec(prompts=captions.prompts), seed)

        def drawn(image: Image, ids: NDArray[np.uint8], variant: str, note: dict[str, Any]) -> str:
            text = plan.recipe(note["id"], note["crop"], 0).prompt
            return text if variant == DAY else f"{text} , {variant}"

        return drawn
    assert captions.rule is not None
    rule = RULES[captions.rule]

    def read_off(image: Image, ids: NDArray[np.uint8], variant: str, note: dict[str, Any]) -> str:
        return rule(image, ids.astype(np.int32), palette, variant)

    return read_off
