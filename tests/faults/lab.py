"""What a fault is, and the room to provoke one: folders of its own, the tiny models, and the real command.

A fault is provoked through the `synthgen` command (or a process that runs it) and told in one line, `got`, of which the
part before the first ` · ` is the behaviour that EVALUATION.md states and a test compares; the rest is for the reader.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from synthgen.cli import main
from synthgen.types import Row
from tests import datasets_for_tests as streets
from tests.datasets_for_tests import config_value, write_streets


class NotYet(Exception):
    """The code that answers this fault is not part of this checkout."""


@dataclass(frozen=True)
class Fault:
    """One of the forty. `provoke` returns what was got; it asserts whatever the words of `expected` leave out."""

    number: int
    input: str
    expected: str
    provoke: Callable[[Lab], str]


@dataclass(frozen=True)
class Ended:
    """A command that ended, and the run's folder that it was told to write."""

    status: int
    out: str
    err: str
    root: Path

    @property
    def codes(self) -> dict[str, str]:
        """Sample id → code of its ledger row, empty where it was accepted."""
        return {row.sample_id: row.code for row in self.rows}

    @property
    def rows(self) -> list[Row]:
        """The ledger."""
        return list(streets.rows(self.root).values())

    def quarantined(self, accepted: int) -> str:
        """`Q` with the codes, each once, of a run that went on to its end."""
        assert self.status == 0, self.err
        codes = [code for code in self.codes.values() if code]
        assert len(self.rows) - len(codes) == accepted, self.codes
        assert not [name for name in self.codes if self.codes[name] and (self.root / "release" / name).exists()]
        return f"Q {', '.join(sorted(set(codes)))} · {len(codes)} quarantined, {accepted} accepted"

    def stopped(self, *words: str) -> str:
        """`X` of a command that stopped before work, with status 2 and one message that holds these words."""
        assert self.status == 2, (self.status, self.err)
        assert "Traceback" not in self.err
        missing = [word for word in words if word not in self.err]
        assert not missing, (missing, self.err)
        assert not (self.root / "private" / "shards.json").exists(), "work has begun"
        return f"X · {self.message()}"

    def message(self) -> str:
        """The error in one short line without the folders of this machine."""
        text = " ".join(self.err.replace("error: ", "").split())
        text = re.sub(r"/\S*/(?=[^/\s])", "…/", text)
        return text if len(text) <= 110 else text[:109] + "…"


class Lab:
    """Folders and models for all faults; made once, since tiny models still take seconds."""

    def __init__(self, root: Path, tiny: Path) -> None:
        self.root = root
        self.tiny = tiny
        self._folders = 0

    def folder(self) -> Path:
        """A new folder."""
        self._folders += 1
        path = self.root / f"{self._folders:03d}"
        path.mkdir(parents=True)
        return path

    def synthgen(self, *arguments: str | Path) -> Ended:
        """The real command, in this process; a traceback that it lets through is its status 1."""
        out, err = io.StringIO(), io.StringIO()
        before = sys.argv
        sys.argv = ["synthgen", *map(str, arguments)]
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                main()
            status = 0
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        finally:
            sys.argv = before
        named = [Path(after) for flag, after in itertools.pairwise(arguments) if flag == "--out"]
        return Ended(status, out.getvalue(), err.getvalue(), named[0] if named else Path())

    def run(self, value: Mapping[str, Any] | str, out: Path | None = None) -> Ended:
        """`synthgen run` of a config, given as its value or its text."""
        folder = self.folder()
        config = folder / "config.yaml"
        config.write_text(value if isinstance(value, str) else yaml.safe_dump(dict(value)), encoding="utf-8")
        return self.synthgen("run", config, "--out", out or folder / "run", "--json")

    def paint(self, source: Path, /, **changes: Any) -> dict[str, Any]:
        """A config that paints with the tiny Stable Diffusion and two ControlNets."""
        return config_value(source, self.tiny, **changes)

    def redact(self, source: Path, form: str = "masks", /, **changes: Any) -> dict[str, Any]:
        """A config that blackens people and leaves all other pixels: what was read can be seen in the release."""
        value = {
            "names": "keep",
            "device": "cpu",
            "source": {"format": form, "path": str(source)},
            "detect": ["labels"],
            "protect": ["solid"],
            "generate": {"kind": "none"},
        }
        return value | changes

    @cached_property
    def streets(self) -> Path:
        """The street dataset without bad files. Read only."""
        return write_streets(self.folder() / "streets", bad=False)

    @cached_property
    def finished(self) -> Ended:
        """The street dataset painted. Read only."""
        ended = self.run(self.paint(self.streets))
        assert ended.status == 0, ended.err
        return ended


def strict_json(text: str) -> Any:
    """JSON in which NaN and infinities are errors."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in a result")

    return json.loads(text, parse_constant=refuse)
