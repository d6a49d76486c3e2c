"""Which pixels a label means, those stored or those shown, where EXIF turns the image: its size tells."""

from __future__ import annotations

from synthgen.types import BadSample


def label_orientation(size: tuple[int, int], orientation: int, stored_size: tuple[int, int], origin: str) -> int:
    """By which orientation a label of (width, height) `size` is turned to fit its image as shown; 1 when it fits.

    Raises:
        BadSample: `mask-size-mismatch`: it fits neither.
    """
    if size == stored_size:
        return orientation
    if orientation >= 5 and size == stored_size[::-1]:
        return 1
    raise BadSample(
        "mask-size-mismatch",
        f"{origin}: the image is {stored_size[0]}x{stored_size[1]}, its label image {size[0]}x{size[1]}",
    )
