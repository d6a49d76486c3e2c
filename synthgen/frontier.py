"""The privacy-utility frontier as a picture: how many people could still be found, against how much use is left.

The bound stands on a logarithmic axis, since what matters lies near the limit. Labels are laid where they hide neither
a point nor each other.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COLOURS = {"pass": "#2a7f4f", "fail": "#b3392f", "insufficient": "#7a7a7a"}
LOWEST = 1.0
"""Per cent, the lower end of the axis."""
TICKS = (1, 2, 5, 10, 20, 50, 100)
PLACES = ((8, 0), (-8, 0), (0, 10), (0, -10), (8, 11), (-8, 11), (8, -11), (-8, -11), (8, 22), (-8, -22), (8, 33))
"""Where a label may stand beside its point, in points (1/72 inch), the best first."""


@dataclass(frozen=True)
class Point:
    """A method on the frontier.

    Attributes:
        bound: the worst bound of an attack that counts, with `attack`, `k` and `n`; None where none could be judged.
        labels: mean agreement of labels read again, 0..1; `distance`: kernel distance to the originals, `floor`: of the
            originals to themselves. None where not measured.
    """

    method: str
    verdict: str
    bound: float | None
    attack: str | None
    k: int | None
    n: int | None
    labels: float | None
    distance: float | None
    floor: float | None
    accepted: int
    quarantined: int


def draw_frontier(points: Sequence[Point], limit: float, path: Path) -> bool:
    """Bound against use, a panel for each measure of use that there is. False without matplotlib.

    Args:
        limit: the bound that a release must reach, 0..1.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    panels = [
        (title, [(point, value) for point in points if (value := getattr(point, key)) is not None])
        for title, key in (
            ("kernel distance to the originals (left is better)", "distance"),
            ("agreement of labels (right is better)", "labels"),
        )
    ]
    unmeasured = ("use was not measured", [(point, float(place)) for place, point in enumerate(points)])
    shown = [panel for panel in panels if panel[1]] or [unmeasured]
    figure = Figure(figsize=(6.8 * len(shown), 5.2), layout="constrained")
    canvas: Any = FigureCanvasAgg(figure)
    floors = [point.floor for point in points if point.floor is not None]
    drawn = []
    for place, (title, values) in enumerate(shown, start=1):
        axes = figure.add_subplot(1, len(shown), place)
        _draw_axes(axes, title, limit)
        if floors and values is panels[0][1]:
            axes.axvline(max(floors), color="#5b7fa6", linewidth=1, linestyle=":", label="originals to originals")
        drawn.append((axes, _draw_points(axes, values)))
        axes.legend(loc="best", fontsize=8, framealpha=0.9)
    canvas.draw()
    for axes, places in drawn:
        _label(axes, places, canvas.get_renderer())
    partial = path.with_name(f".{path.stem}.{os.getpid()}.png")
    figure.savefig(partial, dpi=130, metadata={"Software": None})
    os.replace(partial, path)
    return True


def _draw_axes(axes: Any, title: str, limit: float) -> None:
    axes.set(xlabel=title, ylabel="worst re-identification bound (lower is better)", yscale="log", ylim=(LOWEST, 130))
    axes.set_yticks(TICKS, [f"{tick} %" for tick in TICKS])
    axes.set_yticks([], minor=True)
    axes.axhline(100 * limit, color="#444444", linewidth=1, linestyle="--", label=f"limit, {limit:.0%}")
    axes.margins(x=0.18)
    axes.grid(alpha=0.25)


def _draw_points(axes: Any, values: Sequence[tuple[Point, float]]) -> list[tuple[str, float, float]]:
    """Draw them; their names and places. Where no attack could be judged, a cross stands at the top."""
    places = []
    for verdict, colour in COLOURS.items():
        own = [(point, value) for point, value in values if point.verdict == verdict]
        for known, marker in ((True, "o"), (False, "x")):
            part = [(point, value) for point, value in own if (point.bound is not None) == known]
            heights = [max(100 * (1.0 if point.bound is None else point.bound), LOWEST) for point, _ in part]
            label = verdict if known else f"{verdict}, no bound"
            if part:
                axes.scatter(
                    [value for _, value in part], heights, s=46, c=colour, marker=marker, label=label, zorder=3
                )
            places += [(point.method, value, height) for (point, value), height in zip(part, heights, strict=True)]
    return places


def _label(axes: Any, places: Sequence[tuple[str, float, float]], renderer: Any) -> None:
    """Write each name where it hides no point and no other name; in the first place where there is no such one."""
    from matplotlib.transforms import Bbox

    frame = axes.get_window_extent(renderer)
    centres = [axes.transData.transform((x, y)) for _, x, y in places]
    taken = [Bbox.from_bounds(x - 6, y - 6, 12, 12) for x, y in centres]

    def write(name: str, x: float, y: float, place: tuple[int, int]) -> Any:
        align = "left" if place[0] > 0 else "right" if place[0] < 0 else "center"
        paper = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6}
        kept = {"textcoords": "offset points", "fontsize": 9, "ha": align, "va": "center", "bbox": paper}
        return axes.annotate(name, (x, y), xytext=place, **kept)

    def free(box: Bbox) -> bool:
        inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
        return inside and not any(box.overlaps(other) for other in taken)

    # From the right: of two side by side the right one is then named on its right.
    for name, x, y in sorted(places, key=lambda one: -one[1]):
        for place in PLACES:
            text = write(name, x, y, place)
            if free(text.get_window_extent(renderer)):
                break
            text.remove()
        else:
            text = write(name, x, y, PLACES[0])
        taken.append(text.get_window_extent(renderer))
