"""Data sets: where their images, class names and templates come from, and the base vocabulary."""
