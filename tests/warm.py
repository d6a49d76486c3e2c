"""What every command of a painting run imports, for the processes of tests/processes.py; imported there alone.

A name that a command can do without may be missing here, and one that has gone is only slower: nothing depends on it.
"""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"

from diffusers import StableDiffusionControlNetPipeline as _  # noqa: F401

import synthgen.cli
import synthgen.generators.sd
import synthgen.training.run
import synthgen.working  # noqa: F401
