"""The report: metrics.json, the files behind `dvc plots`, and one self-contained page."""

from __future__ import annotations

from gift_core.report.build import build_report

__all__ = ["build_report"]
