"""Experiment tracking: what a run measures, also sent to MLflow or Weights & Biases."""
