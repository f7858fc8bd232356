"""Fine-tuning on a task: the loop, and what lets a step fit into memory."""

from gift_core.training.loop import (
    LossRow,
    Stepper,
    finetune,
    learning_rates,
    require_trainable,
    run_steps,
    training_mode,
)

__all__ = ["LossRow", "Stepper", "finetune", "learning_rates", "require_trainable", "run_steps", "training_mode"]
