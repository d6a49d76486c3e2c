"""What an output looks like, measured on its pixels alone: the independent half of "asked for against measured".

Nothing here knows the prompt or the model, so a night that came out bright shows. Colours are averaged at a side of at
most 256 pixels; sharpness needs the full size.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.types import Image

MAX_SIDE = 256
SRGB_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], dtype=np.float64)
"""Linear sRGB to CIE XYZ, D65 (IEC 61966-2-1)."""
KELVIN = (1500.0, 25000.0)
"""Where McCamy's formula may be read."""
DARKEST = 1e-4
"""Mean luminance below which a colour temperature means nothing."""
MAX_DUV = 0.05
"""Distance from the Planckian locus in CIE 1960 (u, v) beyond which a colour has no correlated temperature (CIE 15)."""


def measure(image: Image) -> dict[str, float | None]:
    """Numbers of one image (height, width, 3).

    `luminance`: mean CIELAB L*, 0..100. `contrast`: its standard deviation. `saturation`: mean chroma C*ab.
    `temperature`: correlated colour temperature of the mean colour in kelvin (McCamy 1992), None where it is undefined.
    `sharpness`: variance of the Laplacian of the luma (Pech-Pacheco 2000), in grey levels squared.
    """
    height, width = image.shape[:2]
    scale = min(1.0, MAX_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255)
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float64)
    laplacian = cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_32F)
    return {
        "luminance": float(lab[..., 0].mean()),
        "contrast": float(lab[..., 0].std()),
        "saturation": float(np.hypot(lab[..., 1], lab[..., 2]).mean()),
        "temperature": colour_temperature(small.astype(np.float64)),
        "sharpness": float(laplacian.var(dtype=np.float64)),
    }


def colour_temperature(pixels: NDArray[np.float64]) -> float | None:
    """McCamy's CCT (kelvin) of the mean of sRGB values 0..1 in linear light; None if too dark or far off the locus."""
    linear = np.where(pixels <= 0.04045, pixels / 12.92, ((pixels + 0.055) / 1.055) ** 2.4)
    xyz = SRGB_TO_XYZ @ linear.reshape(-1, 3).mean(axis=0)
    if xyz[1] < DARKEST:
        return None
    x, y = xyz[0] / xyz.sum(), xyz[1] / xyz.sum()
    n = (x - 0.3320) / (0.1858 - y)
    kelvin = float(449 * n**3 + 3525 * n**2 + 6823.3 * n + 5520.33)
    if not KELVIN[0] <= kelvin <= KELVIN[1]:
        return None
    u, v = np.array([4 * x, 6 * y]) / (12 * y - 2 * x + 3)
    return kelvin if np.hypot(*(np.array([u, v]) - planckian_uv(kelvin))) <= MAX_DUV else None


def planckian_uv(kelvin: float) -> NDArray[np.float64]:
    """CIE 1960 (u, v) of a black body, 1000..15000 K within 9e-5 (Krystek 1985)."""
    t = kelvin
    u = (0.860117757 + 1.54118254e-4 * t + 1.28641212e-7 * t**2) / (1 + 8.42420235e-4 * t + 7.08145163e-7 * t**2)
    v = (0.317398726 + 4.22806245e-5 * t + 4.20481691e-8 * t**2) / (1 - 2.89741816e-5 * t + 1.61456053e-7 * t**2)
    return np.array([u, v])
