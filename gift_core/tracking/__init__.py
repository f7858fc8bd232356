"""Experiment tracking: what a run measures, also sent to MLflow or Weights & Biases."""

VARIABLES = ("MLFLOW_", "WANDB_")  # the settings of trackers begin with these
