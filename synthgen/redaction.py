"""No secret in what is written: tokens, passwords and keys are cut out of every message, and a config holds none.

Secrets come from the environment (`HF_TOKEN`, `AWS_SECRET_ACCESS_KEY` …) and leave through an error's text, a
library's log or a traceback. So what a process prints goes through `redacted_streams`, what a ledger keeps through
`redact`, and a config in which a secret stands is refused, since the run's folder keeps a copy of it (`run.yaml`).
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

SECRET_VARIABLES = re.compile(
    r"(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|(API|ACCESS|SECRET)_?KEY)(_|$)"
)
"""Environment variables whose values are secrets, by a word of their name."""
MIN_SECRET = 6
"""Shorter values (`1`, `true`) are switches, and would cut up every message."""
_USER_INFO = re.compile(r"(\w://)[^/\s@]+@")
_PASSWORD = re.compile(r"\w://[^/\s:@]*:[^/\s@]+@")
_HUB_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{6,}")
_LONG_HUB_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{30,}")
_QUERY = re.compile(r"(?i)([?&](?:[\w-]*(?:token|secret|password|signature|credential|api_?key)|sig|key)=)[^&\s'\"]+")
_BEARER = re.compile(r"(?i)\b(bearer|basic)(\s+)[A-Za-z0-9._~+/=-]{8,}")


def redact(text: str) -> str:
    """`text` without hub tokens, user names and passwords in URLs, secrets in queries and headers, and the values of
    the environment's secret variables."""
    for secret in _secrets():
        text = text.replace(secret, "***")
    text = _USER_INFO.sub(r"\1***@", text)
    text = _QUERY.sub(r"\1***", text)
    text = _BEARER.sub(r"\1\2***", text)
    return _HUB_TOKEN.sub("***", text)


def holds_secret(text: str) -> bool:
    """Whether a value of a config holds a secret for certain: a password in a URL, a hub token, a secret variable's
    value."""
    if _PASSWORD.search(text) or _LONG_HUB_TOKEN.search(text) or _QUERY.search(text):
        return True
    return any(secret in text for secret in _secrets())


def secret_keys(value: Any, path: str = "") -> list[str]:
    """The keys of a config, as `a.b.0.c`, under which a secret stands."""
    if isinstance(value, dict):
        return [key for name, one in value.items() for key in secret_keys(one, f"{path}.{name}".strip("."))]
    if isinstance(value, list | tuple):
        return [key for place, one in enumerate(value) for key in secret_keys(one, f"{path}.{place}".strip("."))]
    return [path] if isinstance(value, str) and holds_secret(value) else []


def _secrets() -> list[str]:
    """The values of the environment's secret variables, the longest first, so that none is cut within another."""
    values = {value for name, value in os.environ.items() if SECRET_VARIABLES.search(name.upper())}
    return sorted((value for value in values if len(value) >= MIN_SECRET), key=lambda value: (-len(value), value))


class _RedactedStream:
    """A text stream that redacts what is written; everything else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(redact(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def redacted_streams() -> Iterator[None]:
    """While it lasts, standard output and error redact what anyone prints, libraries' logs and warnings included.

    An error that leaves it is printed here, as a traceback of one piece, and ends the process with status 1: the
    interpreter would print it past the streams, in pieces.
    """
    plain = sys.stdout, sys.stderr
    out, err = _RedactedStream(plain[0]), _RedactedStream(plain[1])
    sys.stdout, sys.stderr = out, err
    try:
        yield
    except Exception:
        err.write(traceback.format_exc())
        raise SystemExit(1) from None
    finally:
        sys.stdout, sys.stderr = plain
