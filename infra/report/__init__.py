"""The record of a batch, for the one who signs it and the one who verifies it: `write_report`."""

from __future__ import annotations

from infra.report.report import write_report

__all__ = ["write_report"]
