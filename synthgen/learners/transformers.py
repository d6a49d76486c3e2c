"""Any semantic segmenter or image classifier of `transformers`, tuned whole: from weights, or random from a config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from synthgen.learners.base import Learner, Trainee
from synthgen.pretrained import from_folder
from synthgen.types import ConfigError
from synthgen.weights import digest_weights, resolve_weights

if TYPE_CHECKING:
    from torch import Tensor, nn

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, which these models are made for."""


class Transformers(Learner):
    """`model`, a weights reference, or `config`, the keys of a model's config with its `model_type`."""

    title: ClassVar[str] = "model of transformers"
    kind: Literal["transformers"] = "transformers"
    learning_rate: float = Field(default=1e-4, gt=0)
    model: str | None = None
    config: Mapping[str, Any] | None = None
    side: int | None = Field(default=None, ge=16)
    """Pictures are scaled to side × side first, for models of a fixed size; None: they stay as they are."""

    @model_validator(mode="after")
    def _one_start(self) -> Transformers:
        if (self.model is None) == (self.config is None):
            raise ValueError("give either model (weights) or config (random weights)")
        if self.config is not None and not isinstance(self.config.get("model_type"), str):
            raise ValueError("config: needs model_type, for example segformer or vit")
        return self

    def digest(self) -> str:
        """As `Learner`."""
        return digest_weights(self.model) if self.model else ""

    def load(self, device: str, classes: int) -> Trainee:
        """As `Learner`."""
        import torch
        import torch.nn.functional as F
        from torch import nn

        class Logits(nn.Module):
            def __init__(self, model: nn.Module) -> None:
                super().__init__()
                self.model = model

            def forward(self, inputs: list[Tensor]) -> Tensor:
                return self.model(pixel_values=inputs[0]).logits

        side = self.side
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))

        def prepare(pictures: Tensor) -> list[Tensor]:
            scaled = (pictures.float() / 255 - mean) / std
            return [scaled if side is None else F.interpolate(scaled, (side, side), mode="bilinear", antialias=True)]

        return Trainee(prepare, Logits(self._model(classes)).to(device))

    def _model(self, classes: int) -> nn.Module:
        import transformers

        segments = self.task == "segmentation"
        auto = getattr(transformers, f"AutoModelFor{'SemanticSegmentation' if segments else 'ImageClassification'}")
        if self.model is not None:
            options = {"num_labels": classes, "ignore_mismatched_sizes": True, "use_safetensors": True}
            model: nn.Module = from_folder(auto, resolve_weights(self.model), self.model, **options)
            return model.float()
        keys = dict(self.config or {})
        try:
            config = transformers.AutoConfig.for_model(keys.pop("model_type"), num_labels=classes, **keys)
            model = auto.from_config(config)
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(f"models: {self.name}: config makes no {auto.__name__}: {error}") from error
        return model
