"""What people do with a model of a run: predictions, and tests on labeled images."""
