"""The comparison of the methods on development models: cases, settings, resumable rows, tables and plots."""

from __future__ import annotations
