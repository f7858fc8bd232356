"""The comparison over seeds: finished runs of one experiment in, comparison.csv, comparison.json and a page out."""

from __future__ import annotations

from gift_core.report.comparison.build import compare_runs

__all__ = ["compare_runs"]
