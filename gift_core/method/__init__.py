"""The method, independent of files, DVC and machines: losses, consolidation, replay, training, tests and metrics."""
