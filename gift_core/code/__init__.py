"""Which code a stage runs, its version, and what was edited since."""
