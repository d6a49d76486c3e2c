"""What an attribute must do: read a group (and perhaps a number) off a subject, or say that it can't.

Attributes are estimates, and perceived: how someone looks to a formula or a classifier, not who they are. Where a
reader can't tell, it must say so: unknown is a group of its own and never spread over the others.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from pydantic import field_validator

from synthgen.component import Component
from synthgen.types import Image, Labels, Region

IMAGE_CLASS = "image_class"
"""The column of that name is the class of an image's folder."""


@dataclass(frozen=True, eq=False)
class Subject:
    """Whose attribute is read: someone in an image, or the image as a whole.

    Attributes:
        image: of the source or of an output; empty, (0, 0, 3), for attributes that are not measured.
        labels: of the source. An output has the same layout, so they hold for it as well.
        region: where in the image; None for the image as a whole, or where nobody was found.
    """

    image: Image
    labels: Labels
    region: Region | None = None


@dataclass(frozen=True)
class Reading:
    """`group` None is unknown. `value` is the number behind the group, where there is one."""

    group: str | None = None
    value: float | None = None


AttributeRun = Callable[[Sequence[Subject]], list[Reading]]
"""Subjects (images of any size) to one reading each, in order."""


class Attribute(Component):
    """A frozen description; `load` returns what reads it."""

    measured: ClassVar[bool] = True
    """Read off pixels, of source and output alike. If not, it belongs to the source and its output inherits it."""
    kind: str
    name: str
    target: Mapping[str, float] | None = None
    """The share that each group should have in the release; brought to a sum of 1."""

    @field_validator("target")
    @classmethod
    def _shares(cls, target: Mapping[str, float] | None) -> Mapping[str, float] | None:
        if target is not None and (min(target.values(), default=-1.0) < 0 or sum(target.values()) <= 0):
            raise ValueError("expected a share of at least 0 for each group, and one above 0")
        return target

    @property
    def per_image(self) -> bool:
        """Whether it belongs to the image as a whole, not to a face in it."""
        return True

    @property
    def needs_place(self) -> bool:
        """Whether a region or mask of the source says where in the output to look."""
        return not self.per_image

    @property
    def column_read(self) -> str | None:
        """The column that it is, for an attribute that is not measured."""
        return None

    def fitted(self, values: Sequence[object]) -> Attribute:
        """Itself, made ready for all values that its column has."""
        return self

    @property
    def groups(self) -> tuple[str, ...]:
        """Its groups in order where they are known beforehand, else empty: then those that are found."""
        return ()

    @property
    def known_truth(self) -> str | None:
        """The column that tells the truth of what is read, by which the reader's error is measured."""
        return None

    @property
    def known_confusion(self) -> Mapping[str, Mapping[str, float]]:
        """Counts of truth → reading from elsewhere; empty where there are none."""
        return {}

    @abstractmethod
    def load(self, device: str) -> AttributeRun:
        """Load what it needs.

        Raises:
            ConfigError: a model is missing or has other classes than those named.
        """
