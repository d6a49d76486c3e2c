#!/usr/bin/env bash
# From a fresh checkout to a replacement dataset and a contact sheet, with the starter that lies in the repository.
#
#   scripts/quickstart.sh             a few photographs that come with scikit-image and scikit-learn
#   scripts/quickstart.sh FOLDER      your own: plain images, ImageFolder, image + mask folders, or COCO
#
# PYTHON names the interpreter (3.11 or newer). Everything goes into .venv/ and runs/ of this checkout. Run it again and
# it goes on where it stopped; other photographs make another run.
set -euo pipefail

if [ "$#" -gt 1 ] || [ "${1:-}" = "-h" ] || [ "${1:-}" = "--help" ]; then
  sed -n '2,8s/^# \{0,1\}//p' "$0"
  exit 2
fi
source=""
if [ "$#" -eq 1 ]; then
  source="$(cd "$1" && pwd)"
fi
cd "$(dirname "$0")/.."
. scripts/environment.sh

make_environment .venv quickstart
if [ -z "$source" ]; then
  source=runs/photos
  .venv/bin/python scripts/sample_photos.py "$source"
fi

run_id="$(.venv/bin/synthgen check --source "$source" --json | .venv/bin/python -c 'import json, sys; print(json.load(sys.stdin)["run_id"])')"
run="runs/quickstart-$run_id"
.venv/bin/synthgen run --source "$source" --out "$run"
sheet="$(.venv/bin/synthgen show "$run")"

echo
echo "replacement dataset:  $PWD/$run/release"
echo "contact sheet:        $PWD/$sheet   (private: it shows the sources)"
