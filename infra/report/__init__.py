"""Records to be signed and verified: of a batch (`write_report`) and of a scan (`write_scan_report`)."""

from __future__ import annotations

from infra.report.report import write_report
from infra.report.scan import ScanSummary, write_scan_report

__all__ = ["ScanSummary", "write_report", "write_scan_report"]
