"""Bar 8: memory and time of a whole run, release included, from 200 to 2,000 images.

Each run has a process of its own. The starter at 64 pixels with one step: the smaller the model and the pictures, the
more would show of anything that a run keeps for every image.
"""

from __future__ import annotations

import math

from record import Result, judged
from worker import Worker
from workload import CANNY, Options, make_photos


def bar_8(options: Options) -> Result:
    """Peak memory, and the exponents of memory and time."""
    counts = (8, 24) if options.quick else (200, 2000)
    config = [*options.settings(1, (64, 48)), *CANNY, "detect=[]", "generate.batch_size=8", "execution.shard_size=64"]
    runs = []
    for count in counts:
        source = make_photos(options.folder / f"photos-{count}", count, (64, 48))
        runs.append(Worker(source, config, options.folder / f"run-{count}").finish())
    decades = math.log(counts[1] / counts[0])
    peaks, seconds = [run.peak for run in runs], [run.seconds for run in runs]
    growth = peaks[1] / peaks[0]
    return judged(
        "8",
        f"whole runs of {counts[0]} and {counts[1]} images in a process each, starter at 64 pixels, 1 step, one "
        "ControlNet, shards of 64",
        f"peak resident memory {peaks[0] / 2**20:.0f} and {peaks[1] / 2**20:.0f} MiB, ratio {growth:.3f}, exponent "
        f"{math.log(growth) / decades:.3f}; time {seconds[0]:.1f} and {seconds[1]:.1f} s, exponent "
        f"{math.log(seconds[1] / seconds[0]) / decades:.2f}",
        "peak memory at 2,000 images ≤ 1.05 of that at 200",
        growth <= 1.05,
    )
