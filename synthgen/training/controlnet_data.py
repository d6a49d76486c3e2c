"""What adapting a ControlNet needs of a dataset, packed once: latents, protected control maps, encoded captions.

The maps are those of a run: regions are found at the source's size, their pixels are removed before extraction (but for
extractors that must see people to outline them), and the config's protectors run. So the ControlNet learns on what it
will be given, and no map of a protected region is kept.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from diffusers import AutoPipelineForText2Image
from numpy.typing import NDArray

from synthgen.extractors.base import ExtractorRun
from synthgen.plan import Plan, PlanSpec
from synthgen.protectors.base import ProtectorRun
from synthgen.regions import dilate_regions, remove_pixels
from synthgen.training.data import cut_regions, cut_sample, read_samples, source_digest, windows
from synthgen.training.kinds import ControlnetSpec
from synthgen.training.pack import Pack, PackWriter, open_pack
from synthgen.training.pictures import images_to_tensor
from synthgen.training.spec import Pair, Source
from synthgen.types import BadSample, ConfigError, Image, Region, Sample, SourceMaps
from synthgen.weights import digest_weights, resolve_weights


def load_base(spec: ControlnetSpec) -> Any:
    """The base's text-to-image pipeline, float32, on the CPU.

    Raises:
        ConfigError: not a pipeline of SD1.x, SD2.x or SDXL.
    """
    options: dict[str, Any] = {"use_safetensors": True, "local_files_only": True, "torch_dtype": torch.float32}
    try:
        pipeline = AutoPipelineForText2Image.from_pretrained(resolve_weights(spec.base), **options)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"base: {spec.base} can't be loaded as a text-to-image pipeline: {error}") from error
    if type(pipeline).__name__ not in ("StableDiffusionPipeline", "StableDiffusionXLPipeline"):
        raise ConfigError(f"base: {spec.base} is a {type(pipeline).__name__}; expected SD1.x, SD2.x or SDXL")
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def is_xl(pipeline: Any) -> bool:
    """Whether the base is SDXL: two text encoders, and the image's size among the conditions."""
    return type(pipeline).__name__ == "StableDiffusionXLPipeline"


class Mapper:
    """Loaded detectors, extractor and protectors: a sample's crops and the protected map of each."""

    def __init__(self, spec: ControlnetSpec, device: str) -> None:
        self.spec = spec
        self.detectors = [detector.load(device) for detector in spec.detect]
        self.extractor: ExtractorRun = spec.extract.load(device)
        self.protectors: list[ProtectorRun] = [protector.load(device) for protector in spec.protect]

    def regions(self, sample: Sample) -> list[Region]:
        """What the detectors find at the source's size."""
        return [region for detect in self.detectors for region in detect([sample])[0]]

    def protected_map(self, crop: Sample, regions: list[Region], size: Pair) -> Image:
        """The control map of a crop, (height, width, 3), with the regions' identity taken out."""
        mask = dilate_regions(regions, size, self.spec.dilate)
        seen = replace(crop, image=remove_pixels(crop.image, mask))
        maps = SourceMaps({self.spec.extract.kind: self.extractor([seen])[0]})
        for protect in self.protectors:
            maps = protect(maps, tuple(regions), mask)
        return maps.maps[self.spec.extract.kind].image


def pack_controls(spec: ControlnetSpec, source: Source, pipeline: Any, device: str) -> Pack:
    """Rows of `latents` (scaled, float16) and `map` (uint8); a note is {caption}.

    Raises:
        ConfigError: a caption column that no sample has, an extractor that can't paint the classes, nothing usable.
    """
    spec.extract.check_classes(source.dataset.located_classes(source.dataset.index()))
    assert source.captions is not None
    plan = Plan(PlanSpec(prompts=source.captions.prompts), spec.seed) if source.captions.prompts else None

    def build(writer: PackWriter) -> None:
        caption = make_captioner(source, plan)
        mapper = Mapper(spec, device)
        for sample in read_samples(source):
            try:
                regions = mapper.regions(sample)
                text = caption(sample)
                for window in windows(source, sample, spec.seed):
                    crop = cut_sample(sample, window, source.size)
                    shown = mapper.protected_map(crop, cut_regions(regions, window, source.size), source.size)
                    latents = encode_scaled(pipeline.vae, [crop.image])[0]
                    writer.append({"latents": latents, "map": shown}, {"caption": text})
            except BadSample as error:
                print(f"skipped {sample.item.id}: {error}", file=sys.stderr)

    parts = spec.model_dump(mode="json", include={"extract", "detect", "protect", "dilate", "seed"})
    weights = [ref for part in (spec.extract, *spec.detect) for ref in part.weights()]
    made_from = {
        "dataset": source_digest(source),
        "source": source.model_dump(mode="json", exclude={"dataset", "share"}),
        "parts": parts,
        "weights": [digest_weights(ref) for ref in weights],
        "base": digest_weights(spec.base),
        "prompts": plan and plan.digest,
    }
    return open_pack(spec.out / "cache", "controls", made_from, build)


def make_captioner(source: Source, plan: Plan | None) -> Callable[[Sample], str]:
    """A sample's caption: from its metadata, or drawn from the prompt file by the sample's seed.

    The function raises BadSample `caption-missing` where the column is empty.

    Raises:
        ConfigError: a rule (those are the starter's own).
    """
    captions = source.captions
    assert captions is not None
    if plan is not None:
        return lambda sample: plan.recipe(sample.item.id, 0, 0).prompt
    if captions.column is None:
        raise ConfigError("sources.captions: a controlnet takes its captions from `column` or `prompts`")
    column = captions.column

    def from_column(sample: Sample) -> str:
        text = sample.labels.attributes.get(column)
        if not isinstance(text, str) or not text.strip():
            raise BadSample("caption-missing", f"no text in the column {column!r}; see sources.captions.column")
        return text

    return from_column


@torch.no_grad()
def encode_scaled(vae: Any, images: Sequence[Image]) -> NDArray[np.float16]:
    """Images of one size → the means of their latents as the UNet takes them, (n, channels, height, width)."""
    pixels = images_to_tensor(images).to(vae.device, vae.dtype)
    latents = vae.encode(pixels).latent_dist.mode() - (getattr(vae.config, "shift_factor", None) or 0.0)
    scaled: NDArray[np.float16] = (latents * vae.config.scaling_factor).half().cpu().numpy()
    return scaled


@torch.no_grad()
def encode_captions(pipeline: Any, captions: Sequence[str], size: Pair) -> list[dict[str, torch.Tensor]]:
    """Each caption as the UNet takes it, on the CPU: `text` (tokens, width), for SDXL `pooled` and `ids` (6,) too."""
    found = []
    for caption in captions:
        if is_xl(pipeline):
            text, _, pooled, _ = pipeline.encode_prompt(caption, do_classifier_free_guidance=False)
            width, height = size
            ids = torch.tensor([height, width, 0, 0, height, width], dtype=torch.float32)
            found.append({"text": text[0].float().cpu(), "pooled": pooled[0].float().cpu(), "ids": ids})
        else:
            text, _ = pipeline.encode_prompt(caption, pipeline.device, 1, False)
            found.append({"text": text[0].float().cpu()})
    return found
