"""Counts of what a set says that its new format can't hold, as one finding a kind instead of one an object."""

from __future__ import annotations

from synthgen.types import Finding


class Tally:
    """Adds up things of one kind; the first image that had it is named as an example."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], tuple[int, str]] = {}

    def add(self, code: str, message: str, name: str, count: int = 1) -> None:
        """Note `count` things in the image `name`; `message` follows their number in the finding."""
        if count:
            before, first = self._seen.get((code, message), (0, name))
            self._seen[code, message] = (before + count, first)

    def findings(self) -> tuple[Finding, ...]:
        """One finding for each code and message, in order."""
        return tuple(
            Finding(code, first, f"{count} {message}; this is the first image with one")
            for (code, message), (count, first) in sorted(self._seen.items())
        )
