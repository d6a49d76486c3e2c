"""From a spec to diffusers pipelines on a device: every class checked, every adapter merged, nothing but safetensors.

Everything is read from local folders that `synthgen.weights` has resolved, so the library never reaches the network
and never picks a revision. What does not fit is a ConfigError that names the key, before any image is made.
"""

from __future__ import annotations

import copy
import inspect
import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers.models.attention_processor import AttnProcessor

from synthgen.generators._diffusion import DiffusionGenerator, LoraSpec
from synthgen.generators._options import StableDiffusionFamily
from synthgen.types import ConfigError
from synthgen.weights import resolve_weights

LOAD_ERRORS = (OSError, ValueError, TypeError, AttributeError, KeyError, RuntimeError, ImportError)
OPTIONAL = frozenset({"safety_checker", "feature_extractor", "image_encoder"})


def load_pipelines(spec: DiffusionGenerator, device: str) -> tuple[Any, Any]:
    """(pipeline for `mode: scene`, pipeline for `mode: people`) that share their weights; None where there is none.

    Raises:
        ConfigError: see `DiffusionGenerator.load`.
    """
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    scene_name, people_name = spec.pipelines()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the library's notices to its own callers
        pipe = _load_pipeline(spec, pipeline_class(scene_name or people_name or ""))
        _replace_scheduler(spec, pipe)
        _merge_base_loras(spec, pipe)
        _encode_repeatably(pipe.vae)
        pipe.to(device)
        _compute_as_asked(spec, pipe)
        pipe.set_progress_bar_config(disable=True)
        if scene_name is None:
            return None, pipe
        return pipe, _inpainting(pipe, pipeline_class(people_name)) if people_name else None


def pipeline_class(name: str) -> Any:
    """The ControlNet pipeline class of diffusers with that name.

    Raises:
        ConfigError: there is none, or it makes videos, or it starts from a source image.
    """
    known = sorted(n for n in dir(diffusers) if "ControlNet" in n and n.endswith("Pipeline"))
    if name not in known:
        raise ConfigError(f"generate.pipeline: diffusers has no {name!r}; it has: {', '.join(known)}")
    cls = getattr(diffusers, name)
    control_argument(cls)
    return cls


def control_argument(cls: Any) -> str:
    """The name of the call's argument that takes the control image.

    Raises:
        ConfigError: a pipeline that this generator can't feed from controls and a recipe alone.
    """
    call = inspect.signature(cls.__call__).parameters
    name = "control_image" if "control_image" in call else "image"
    img2img = name == "control_image" and "image" in call and "mask_image" not in call
    if name not in call or img2img or "control_mask" in call or "num_frames" in call:
        raise ConfigError(
            f"generate.pipeline: {cls.__name__} is not a text-to-image or masked inpainting ControlNet pipeline "
            "(it wants a source image, frames, or a control image with a mask of its own); use the plain or the "
            "Inpaint class of its family"
        )
    return name


def _load_pipeline(spec: DiffusionGenerator, cls: Any) -> Any:
    folder = resolve_weights(spec.model)
    index = _read_json(folder / "model_index.json", f"generate.model {spec.model!r}: a base model in diffusers' format")
    parts = dict(spec.components())
    takes = inspect.signature(cls.__init__).parameters
    foreign = sorted(
        name
        for name, value in index.items()
        if isinstance(value, list) and any(value) and name not in takes and name not in OPTIONAL | {"controlnet"}
    )
    if foreign:
        raise ConfigError(
            f"generate.model {spec.model!r} is a {index.get('_class_name')} with {foreign}, which {cls.__name__} does "
            "not take; use another kind or pipeline, or a base model of its family"
        )
    if getattr(spec, "safety_checker", False) and not any(index.get("safety_checker") or [None]):
        raise ConfigError(f"generate.safety_checker: {spec.model!r} has none; set it to false")
    dtype = getattr(torch, spec.dtype)
    if spec.vae:
        parts["vae"] = _load_model(spec.vae, "generate.vae", r"Autoencoder\w+", dtype)
    nets = _load_controlnets(spec, cls, dtype)
    try:
        pipe = cls.from_pretrained(
            folder,
            controlnet=nets[0] if len(nets) == 1 else nets,
            torch_dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            **parts,
        )
    except LOAD_ERRORS as error:
        raise ConfigError(f"generate.model {spec.model!r}: {cls.__name__} can't be loaded from it: {error}") from error
    _check_widths(spec, pipe, nets)
    return pipe


def _load_controlnets(spec: DiffusionGenerator, cls: Any, dtype: torch.dtype) -> list[Any]:
    """The ControlNets in order, each set of weights loaded once; a Union stands once for all of its maps."""
    loaded: dict[tuple[str, tuple[LoraSpec, ...]], Any] = {}
    accepted = str(inspect.signature(cls.__init__).parameters["controlnet"].annotation)
    for at, net in enumerate(spec.controlnets):
        if (net.model, net.loras) in loaded:
            continue
        module = _load_model(net.model, f"generate.controlnets.{at}.model", r"\w*ControlNet\w*", dtype)
        if not re.search(rf"\b{type(module).__name__}\b", accepted):
            expected = sorted(set(re.findall(r"\b[A-Z]\w*ControlNet\w*|\bControlNet\w*", accepted)))
            raise ConfigError(
                f"generate.controlnets.{at}.model {net.model!r} is a {type(module).__name__}; "
                f"{cls.__name__} takes {' or '.join(expected)}"
            )
        for lora in net.loras:
            module = _merge_peft(module, lora, f"generate.controlnets.{at}.loras")
        loaded[net.model, net.loras] = module
    if "Union" in cls.__name__:
        if len(loaded) > 1:
            raise ConfigError(f"generate.controlnets: {cls.__name__} takes one model for all maps, got {len(loaded)}")
        return list(loaded.values())
    return [loaded[net.model, net.loras] for net in spec.controlnets]


def _load_model(ref: str, key: str, expected: str, dtype: torch.dtype) -> Any:
    """The diffusers model that the folder's config.json names, if its class fits the pattern `expected`."""
    folder = resolve_weights(ref)
    name = str(_read_json(folder / "config.json", f"{key} {ref!r}: a model of diffusers").get("_class_name"))
    if not re.fullmatch(expected, name) or not hasattr(diffusers, name):
        raise ConfigError(f"{key} {ref!r}: its config.json names {name!r}; expected a {expected} of diffusers")
    try:
        return getattr(diffusers, name).from_pretrained(
            folder, torch_dtype=dtype, use_safetensors=True, local_files_only=True
        )
    except LOAD_ERRORS as error:
        raise ConfigError(f"{key} {ref!r}: {name} can't be loaded from it: {error}") from error


def _read_json(path: Path, what: str) -> Mapping[str, Any]:
    if not path.is_file():
        raise ConfigError(f"{what} has a {path.name}; there is none in {path.parent}")
    value: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value


def _check_widths(spec: DiffusionGenerator, pipe: Any, nets: list[Any]) -> None:
    """Refuse a ControlNet of another family, and an autoencoder of another latent space."""
    unet = getattr(pipe, "unet", None)
    for net, module in zip(spec.controlnets, nets, strict=False):
        theirs = getattr(module.config, "cross_attention_dim", None)
        if unet is not None and theirs is not None and theirs != unet.config.cross_attention_dim:
            raise ConfigError(
                f"controlnet {net.model!r} reads text of width {theirs}, the base model {spec.model!r} has "
                f"{unet.config.cross_attention_dim}; use a ControlNet made for this base model"
            )
    latent = getattr(pipe.vae.config, "latent_channels", None)
    out = getattr(unet.config, "out_channels", latent) if unet is not None else latent
    if latent is not None and latent != out:
        raise ConfigError(f"generate.vae {spec.vae!r}: {latent} latent channels, the base model has {out}")


def _replace_scheduler(spec: DiffusionGenerator, pipe: Any) -> None:
    if spec.scheduler is None:
        return
    cls = getattr(diffusers, spec.scheduler.name, None)
    if not (inspect.isclass(cls) and issubclass(cls, diffusers.SchedulerMixin)):
        raise ConfigError(f"generate.scheduler.name: diffusers has no scheduler {spec.scheduler.name!r}")
    unknown = sorted(set(spec.scheduler.arguments) - set(inspect.signature(cls.__init__).parameters))
    if unknown:
        raise ConfigError(f"generate.scheduler.arguments: {spec.scheduler.name} has no {unknown}")
    pipe.scheduler = cls.from_config(pipe.scheduler.config, **spec.scheduler.arguments)


def _merge_base_loras(spec: DiffusionGenerator, pipe: Any) -> None:
    part = "unet" if hasattr(pipe, "unet") else "transformer"
    for at, lora in enumerate(spec.loras):
        key = f"generate.loras.{at}"
        folder = resolve_weights(lora.model, (lora.weight_name,) if lora.weight_name else ())
        if (folder / "adapter_config.json").is_file():
            setattr(pipe, part, _merge_peft(getattr(pipe, part), lora, key))
            continue
        try:
            name = lora.weight_name or "pytorch_lora_weights.safetensors"
            pipe.load_lora_weights(folder, weight_name=name, use_safetensors=True, local_files_only=True)
            pipe.fuse_lora(components=[part], lora_scale=lora.scale)
            pipe.unload_lora_weights()
        except LOAD_ERRORS as error:
            raise ConfigError(f"{key} {lora.model!r}: can't be merged into the {part}: {error}") from error


def _merge_peft(module: Any, lora: LoraSpec, key: str) -> Any:
    """`module` with the adapter's weights, times `scale`, added to its own."""
    from peft import PeftModel
    from peft.tuners.tuners_utils import BaseTunerLayer

    folder = resolve_weights(lora.model)
    if not (folder / "adapter_config.json").is_file():
        raise ConfigError(f"{key} {lora.model!r}: expected an adapter in peft's format, with an adapter_config.json")
    try:
        adapted = PeftModel.from_pretrained(module, folder, is_trainable=False)
        for layer in adapted.modules():
            if isinstance(layer, BaseTunerLayer):
                layer.set_scale("default", lora.scale)  # type: ignore[operator]
        return adapted.merge_and_unload()
    except LOAD_ERRORS as error:
        raise ConfigError(f"{key} {lora.model!r}: can't be merged into {type(module).__name__}: {error}") from error


def _encode_repeatably(vae: Any) -> None:
    """Take the mean where a pipeline draws a control image's latents without a generator (SD3, Hunyuan-DiT).

    Such a draw comes from the global random state: the pixels would depend on what ran before and on the slot.
    """
    encode = vae.encode

    def encode_repeatably(*args: Any, **kwargs: Any) -> Any:
        output = encode(*args, **kwargs)
        if (posterior := getattr(output, "latent_dist", None)) is not None:
            sample, mode = posterior.sample, posterior.mode
            posterior.sample = lambda generator=None: mode() if generator is None else sample(generator)
        return output

    vae.encode = encode_repeatably


def _compute_as_asked(spec: DiffusionGenerator, pipe: Any) -> None:
    """Memory format, attention and how the autoencoder works: keys of the Stable Diffusion family alone."""
    if not isinstance(spec, StableDiffusionFamily):
        return
    networks = [pipe.unet, pipe.vae, *getattr(pipe.controlnet, "nets", [pipe.controlnet])]
    if spec.channels_last:
        for network in networks:
            network.to(memory_format=torch.channels_last)
    if spec.attention == "eager":
        for network in networks:
            if hasattr(network, "set_attn_processor"):
                network.set_attn_processor(AttnProcessor())
    for wanted, key, attribute in (
        (spec.vae_slicing, "vae_slicing", "use_slicing"),
        (spec.vae_tiling, "vae_tiling", "use_tiling"),
    ):
        if wanted and not hasattr(pipe.vae, attribute):
            raise ConfigError(f"generate.{key}: {type(pipe.vae).__name__} can't do it; remove the key")
        if wanted:
            setattr(pipe.vae, attribute, True)


def _inpainting(pipe: Any, cls: Any) -> Any:
    """The inpainting pipeline over the same components.

    The library blends the canvas in at every step if the UNet has 4 channels, and takes any other number but 9 for "no
    mask". A UNet that reads nothing but latents of another width is shown to it as one of 4; the weights are shared.
    """
    unet = pipe.unet
    if unet.config.in_channels == pipe.vae.config.latent_channels != 4:
        unet = copy.copy(unet)
        unet.register_to_config(in_channels=4)
    inpaint = cls.from_pipe(pipe, unet=unet, vae=pipe.vae)
    inpaint.set_progress_bar_config(disable=True)
    return inpaint
