"""Personal data that nobody named: Microsoft Presidio's recognisers, offline, on the stretches of text that need them.

Nothing is downloaded: the public-suffix list is the one packed with tldextract, and no language model is used unless
one that lies on this machine is named (infra/detection/ner.py).
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from infra.detection.config import DEFAULT_MIN_SCORE, DEFAULT_TYPES, DetectorConfig, NerConfig, read_config
from infra.detection.findings import Finding, Findings, Unread, without_parts
from revs.errors import BadInput

__all__ = [
    "DEFAULT_MIN_SCORE",
    "DEFAULT_TYPES",
    "Detector",
    "DetectorConfig",
    "Finding",
    "Findings",
    "NerConfig",
    "Unread",
    "read_config",
    "without_parts",
]


class Detector:
    """Finds typed personal data in text, in process and without network. Recognisers are built at the first call.

    Args:
        config: what it looks for, and how; the usual where none is given.
    """

    def __init__(self, config: DetectorConfig | None = None) -> None:
        self.config = config or DetectorConfig()

    @classmethod
    def from_file(cls, path: Path) -> Detector:
        """The detector of a YAML file (docs/detection.md lists its keys)."""
        return cls(read_config(path))

    def __reduce__(self) -> tuple[Any, ...]:
        return Detector, (self.config,)

    def find(self, text: str) -> list[Finding]:
        """Findings in order of their place; one that lies within a longer one of no lower score is left out.

        Raises:
            BadInput: a recogniser did not get through the text; `find_all` tells without raising.
        """
        found = self.find_all(text)
        if found.unread:
            first = found.unread[0]
            raise BadInput(
                f"recogniser {first.recogniser!r} {first.reason} ({first.detail}); simplify it or leave it out"
            )
        return list(found.findings)

    def find_all(self, text: str) -> Findings:
        """Findings as `find` gives them, and the recognisers that did not get through the text."""
        from infra.detection.engine import examine

        found, unread = examine(text, self.recognisers, self.config, self._labels)
        if self._allowed:
            found = [each for each in found if text[each.start : each.end] not in self._allowed]
        return Findings(findings=tuple(found), unread=unread)

    @cached_property
    def recognisers(self) -> list[Any]:
        """The recognisers behind `find`.

        Raises:
            BadInput: the model or the package of the named-entity engine is not on this machine.
        """
        from infra.detection.engine import recognisers

        return recognisers(self.config)

    @cached_property
    def _labels(self) -> Any:
        from infra.detection.context import labels

        return labels(self.config.context)

    @cached_property
    def _allowed(self) -> frozenset[str]:
        return frozenset(self.config.allow_list)
