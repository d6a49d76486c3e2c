"""What the commands of tests/processes.py have imported when they begin; imported there alone.

Nothing depends on it but their speed.
"""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"

from diffusers import StableDiffusionControlNetPipeline as _  # noqa: F401

import synthgen.cli
import synthgen.generators.sd
import synthgen.training.run
import synthgen.working  # noqa: F401
