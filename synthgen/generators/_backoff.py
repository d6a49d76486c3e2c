"""What to do when memory runs out: half the batch, down to one image; then the autoencoder in tiles; then the CPU.

Seeds and recipes stay, so the run goes on with the same pictures up to what another batch shape changes of them: last
digits (tiles: a little more). So what was done is said in a warning and in the ledger's row of every such picture.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from synthgen.generators.base import Size

PHRASES = ("out of memory", "can't allocate memory", "not enough memory", "_STATUS_ALLOC_FAILED")
"""How CUDA, MPS, the CPU's allocator on Linux and on Windows, and cuBLAS say so in a RuntimeError."""


@dataclass(frozen=True)
class Footprint:
    """How a batch is painted: how many images at once, whether in tiles, and whether on the CPU instead."""

    rows: int
    tiled: bool = False
    on_cpu: bool = False

    def smaller(self, device: str) -> Footprint | None:
        """The next one to try; None where nothing is left. `device` is the one that the config asks for."""
        if self.rows > 1:
            return replace(self, rows=self.rows // 2)
        if not self.tiled:
            return replace(self, tiled=True)
        return None if self.on_cpu or device == "cpu" else replace(self, on_cpu=True)

    def __str__(self) -> str:
        """In words."""
        tiles = ", autoencoder in tiles" if self.tiled else ""
        return f"{self.rows} at a time{tiles}{', on the CPU' if self.on_cpu else ''}"


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch or Python means that an allocation failed."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(word in str(error) for word in PHRASES)


def free_memory() -> None:
    """Give back what a failed attempt left in the allocators' caches."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


@contextmanager
def tiles(vae: Any, size: Size, scale: int) -> Iterator[None]:
    """Encode and decode one image at a time, in tiles of at most half of `size` (width, height).

    `scale` is the side in pixels of a latent cell. An autoencoder that knows no tiles stays whole.
    """
    names = ("use_slicing", "use_tiling", "tile_latent_min_size", "tile_sample_min_size")
    before = {name: getattr(vae, name) for name in names if hasattr(vae, name)}
    half = max(size) // scale // 2
    wanted = {
        "use_slicing": True,
        "use_tiling": True,
        "tile_latent_min_size": half,
        "tile_sample_min_size": half * scale,
    }
    for name in before:
        setattr(vae, name, wanted[name])
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(vae, name, value)
