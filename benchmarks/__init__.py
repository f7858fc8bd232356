"""Measurements of the pipeline; each prints its table and keeps it beside itself."""
