"""Train one cell and try it on the tests.

Batches are drawn by the seed and the number of pictures alone, so all sets of one seed see the same scenes and views in
the same order: what differs between two arms is the pictures.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from synthgen.learners.base import Learner, Trainee
from synthgen.seeds import derive_seed
from synthgen.types import ConfigError
from synthgen.utility.answers import Answers, class_answers, pixel_answers
from synthgen.utility.cells import Cell
from synthgen.utility.pictures import IGNORE, PRESENT, UNKNOWN, Pictures, view
from synthgen.utility.spec import UtilitySpec
from synthgen.utility.study import Study

CHUNK = 16
"""Pictures prepared and tested at once."""


class Workshop:
    """Trains cells of one model; keeps what its frozen part made of each arm's pictures."""

    def __init__(self, study: Study, spec: UtilitySpec, device: str) -> None:
        self._study, self._spec, self._device = study, spec, device
        self._model: Learner | None = None
        self._prepared: dict[str, tuple[list[Tensor], Tensor | None]] = {}
        self._tests: dict[str, list[Tensor]] = {}

    def answers(self, cell: Cell) -> dict[str, Answers]:
        """Train the cell and try it; the same cell gives the same answers on one kind of device and library."""
        if cell.model != self._model:
            self._model, self._prepared, self._tests = cell.model, {}, {}
        torch.set_num_threads(self._spec.threads)
        torch.manual_seed(cell.weights_seed)
        trainee = cell.model.load(self._device, len(self._study.words.names))
        self._train(cell, trainee)
        tests = {name: self._study.arms[name].test for name in cell.tests}
        return {name: self._try(trainee, cell.model, name, test) for name, test in tests.items() if test is not None}

    def refuse_unfit(self, model: Learner) -> None:
        """Load a model and show it a picture, before anything is trained.

        Raises:
            ConfigError: it can't be loaded, or can't read pictures of this size.
        """
        trainee = model.load(self._device, len(self._study.words.names))
        inputs = self._prepare(trainee, self._study.test.images[:2])
        trainee.network.eval()
        try:
            with torch.inference_mode():
                logits = trainee.network([one.to(self._device).float() for one in inputs])
        except (ValueError, RuntimeError, AttributeError, TypeError) as error:
            width, height = self._spec.size
            raise ConfigError(
                f"models: {model.name}: can't read pictures of {width} × {height} ({error}); for an architecture of "
                "one input size set its `side`, or change `size`"
            ) from error
        if logits.ndim != (4 if model.task == "segmentation" else 2):
            raise ConfigError(f"models: {model.name}: gives no logits for the task {model.task}; change model")

    def _train(self, cell: Cell, trainee: Trainee) -> None:
        spec, network = self._spec, trainee.network
        sets = {name: self._views(name, trainee, cell.model) for name in set(cell.chosen.arms)}
        present = {name: torch.from_numpy(self._study.arms[name].train.present).long() for name in sets}
        rng = np.random.default_rng(derive_seed(cell.seed, "batches", 0, 0, "utility"))
        learning = [weight for weight in network.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(learning, lr=cell.model.learning_rate, weight_decay=0.01)
        count = len(cell.chosen.arms)
        network.train()
        for step in range(spec.steps):
            for group in optimizer.param_groups:
                group["lr"] = cell.model.learning_rate * (1 - step / spec.steps) ** 0.9
            picks = [(int(rng.integers(count)), int(rng.integers(spec.variants))) for _ in range(spec.batch_size)]
            rows = [(cell.chosen.arms[index], index, index * spec.variants + number) for index, number in picks]
            levels = range(len(next(iter(sets.values()))[0]))
            batch = [torch.stack([sets[arm][0][level][row] for arm, _, row in rows]) for level in levels]
            logits = network([one.to(self._device).float() for one in batch])
            if cell.model.task == "segmentation":
                masks = [mask[row] for arm, _, row in rows if (mask := sets[arm][1]) is not None]
                loss = pixel_loss(logits, torch.stack(masks).to(self._device))
            else:
                truth = torch.stack([present[arm][index] for arm, index, _ in rows]).to(self._device)
                loss = class_loss(logits, truth, self._study.words.from_folders)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(learning, 5.0)
            optimizer.step()
        network.eval()

    def _views(self, arm: str, trainee: Trainee, model: Learner) -> tuple[list[Tensor], Tensor | None]:
        """Every view of every picture of an arm, prepared: view v of picture i is row i · variants + v."""
        if arm not in self._prepared:
            pictures = self._study.arms[arm].train
            views = [
                view(
                    pictures.images[place],
                    None if pictures.masks is None else pictures.masks[place],
                    one,
                    number,
                    self._spec.seed,
                )
                for place, one in enumerate(pictures.ids)
                for number in range(self._spec.variants)
            ]
            masks = [one.mask for one in views if one.mask is not None]
            self._prepared[arm] = (
                self._prepare(trainee, np.stack([one.image for one in views])),
                torch.from_numpy(np.stack(masks)) if masks else None,
            )
        return self._prepared[arm]

    def _prepare(self, trainee: Trainee, images: NDArray[np.uint8]) -> list[Tensor]:
        parts = [trainee.prepare(_to_tensor(images[start : start + CHUNK])) for start in range(0, len(images), CHUNK)]
        return [torch.cat(levels) for levels in zip(*parts, strict=True)]

    def _try(self, trainee: Trainee, model: Learner, name: str, test: Pictures) -> Answers:
        if name not in self._tests:
            self._tests[name] = self._prepare(trainee, test.images)
        found: list[Answers] = []
        for start in range(0, len(test.ids), CHUNK):
            part = slice(start, start + CHUNK)
            with torch.inference_mode():
                inputs = [one[part].to(self._device).float() for one in self._tests[name]]
                logits = trainee.network(inputs).float()
                if model.task == "segmentation":
                    assert test.masks is not None
                    found.append(pixel_answers(logits.cpu(), test.masks[part]))
                else:
                    found.append(class_answers(logits.cpu(), test.present[part], self._study.words.from_folders))
        return {name: np.concatenate([one[name] for one in found]) for name in found[0]}


def pixel_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Mean cross-entropy over labelled pixels, 0 where a batch has none; `masks` (n, h, w) of places."""
    scaled = F.interpolate(logits, masks.shape[-2:], mode="bilinear")
    summed = F.cross_entropy(scaled, masks.long(), ignore_index=IGNORE, reduction="sum")
    return summed / (masks != IGNORE).sum().clamp(min=1)


def class_loss(logits: Tensor, truth: Tensor, one_of: bool) -> Tensor:
    """Cross-entropy over class folders (`one_of`), else the mean binary one where `truth` (n, classes) is known."""
    if one_of:
        return F.cross_entropy(logits, truth.argmax(1))
    known = truth != UNKNOWN
    each = F.binary_cross_entropy_with_logits(logits, (truth == PRESENT).float(), reduction="none")
    return (each * known).sum() / known.sum().clamp(min=1)


def _to_tensor(images: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
