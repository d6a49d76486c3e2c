"""The last look before a release edition is written: does it hold a source's name, path, digest or seed?

The edition is built of an allowlist, so nothing of the kind should be there. But results of other verbs flow into it,
and a name may hide in a message. What is found stops the report: it fails closed.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from synthgen.config import RunConfig
from synthgen.types import Row, SynthgenError

_DATA_URI = re.compile(r"data:image/jpeg;base64,[A-Za-z0-9+/=]+")
_TOKEN = re.compile(r"[\w.-]+")
_NUMBER = re.compile(r"[0-9a-f]{64}|[0-9]{9,}")
MIN_SEED = 100_000_000
"""Smaller numbers may stand in a page by chance."""


class LeakError(SynthgenError):
    """A release edition that holds what only the private one may."""


def refuse_leaks(text: str, rows: Iterable[Row], config: RunConfig, where: str) -> None:
    """See that `text` (HTML or JSON) holds nothing of the source.

    Raises:
        LeakError: it does; the message says what kind of thing, not its value.
    """
    bare = html.unescape(_DATA_URI.sub("", text)).replace('\\"', '"')
    root = str(config.source.path)
    if root != "/" and re.search(rf"(?<![\w./-]){re.escape(root)}(?![\w-])", bare):
        raise LeakError(f"{where}: holds the path of the source; look for it in run.yaml and the JSON files of report/")
    tokens = {*_tokens(bare), *_NUMBER.findall(bare)}
    for row in rows:
        for kind, value in _secrets(row):
            if value in tokens or (kind == "name" and _last_token(value) in tokens and value in bare):
                raise LeakError(f"{where}: holds the {kind} of a source image; look in the JSON files of report/")


def _secrets(row: Row) -> Iterator[tuple[str, str]]:
    yield "name", row.sample_id
    yield "name", PurePosixPath(row.sample_id).name
    if row.seed >= MIN_SEED:
        yield "seed", str(row.seed)
    for digest in (row.source_digest, row.output_digest):
        if digest:
            yield "digest", digest


def _last_token(value: str) -> str:
    found = _tokens(value)
    return found[-1] if found else value


def _tokens(text: str) -> list[str]:
    """Words as they stand in file names, without the full stop of a sentence."""
    return [token.strip(".-") for token in _TOKEN.findall(text)]
