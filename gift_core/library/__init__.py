"""GIFT on the caller's own model, loader and pairs: no params.yaml, no DVC, no files (docs/library.md)."""
