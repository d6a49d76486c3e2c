#!/usr/bin/env bash
# The tests, in an environment of their own. Arguments go to pytest: scripts/test.sh tests/generators -k sdxl
#
# PYTHON names the interpreter (3.11 or newer). Needs the package index and nothing else: no GPU, no hub, no dataset.
set -euo pipefail

cd "$(dirname "$0")/.."
. scripts/environment.sh

make_environment .venv-test test
# One thread a process: these models are too small to share out. A dead address for the hub: a test that asks the real
# one fails at once (HF_HUB_OFFLINE would also cut off the hub that some tests serve themselves).
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" HF_ENDPOINT=http://127.0.0.1:9
# A process a core, and four at most: much of the time goes to whole runs that are started, killed and started again.
exec .venv-test/bin/python -m pytest -n auto --maxprocesses 4 --dist worksteal "$@"
