"""Secrets go nowhere: not into a message, a log, a traceback, a ledger or a run's copy of its config."""

from __future__ import annotations

import logging
import sys

import pytest

from synthgen.redaction import holds_secret, redact, redacted_streams, secret_keys


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("GET https://me:pw@host/x hf_abcDEF123456 hf_hub", "GET https://***@host/x *** hf_hub"),
        ("s3://AKIA12:sec/bucket", "s3://AKIA12:sec/bucket"),
        ("https://host/x?X-Amz-Signature=abc123&b=1", "https://host/x?X-Amz-Signature=***&b=1"),
        ("https://host/?a=1&access_token=abc 'x'", "https://host/?a=1&access_token=*** 'x'"),
        ("{'Authorization': 'Bearer abcdefgh12345'}", "{'Authorization': 'Bearer ***'}"),
        ("nothing to hide: a@b.example, key=1", "nothing to hide: a@b.example, key=1"),
    ],
)
def test_what_looks_like_a_secret(text: str, clean: str) -> None:
    assert redact(text) == clean


@pytest.mark.parametrize(
    "name", ["HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "MY_PASSWORD", "some_api_key", "GOOGLE_CREDENTIALS"]
)
def test_the_environments_secrets(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "a-private-word")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false-as-can-be")
    assert redact("<a-private-word> false-as-can-be") == "<***> false-as-can-be"
    assert secret_keys({"a": [{"b": "x a-private-word"}, 3], "c": "false-as-can-be"}) == ["a.0.b"]


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("https://me:pw@host/x", True),
        ("https://me@host/x", False),
        ("hf_dataset1", False),
        ("hf_" + "aB3" * 11, True),
        ("C:/data/a@b", False),
    ],
)
def test_what_a_config_may_hold(text: str, secret: bool) -> None:
    assert holds_secret(text) is secret


def test_streams_redact_logs_and_tracebacks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "a-private-word")
    with pytest.raises(SystemExit) as ended, redacted_streams():
        handler = logging.StreamHandler()
        handler.emit(logging.LogRecord("x", logging.ERROR, "", 0, "log: a-private-word", (), None))
        print("said: a-private-word")
        sys.stderr.writelines(["noted: ", "a-private-word\n"])
        raise RuntimeError("raised: a-private-word")
    printed = capsys.readouterr()
    assert ended.value.code == 1
    assert printed.out == "said: ***\n" and "log: ***" in printed.err and "noted: ***" in printed.err
    assert "RuntimeError: raised: ***" in printed.err and "a-private-word" not in printed.out + printed.err
