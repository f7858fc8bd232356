"""The scheduler that removes the noise: the pipeline's own or one by name, tried with the steps before any drawing."""

from __future__ import annotations

import inspect
from typing import Any

from gift_core.errors import UserError, lookup

PLACE = "params.yaml: generator"


def set_scheduler(pipeline: Any, name: str | None, steps: int) -> None:
    """Gives `pipeline` the scheduler of diffusers called `name` (null: its own stays), made from its own's settings.

    UserError for an unknown name, a package that is missing, a flow-matching scheduler for a model trained to remove
    noise or the other way round, and steps that the scheduler cannot do.
    """
    if name is not None:
        pipeline.scheduler = _made_from(pipeline.scheduler, name)
    scheduler = getattr(pipeline, "scheduler", None)
    if scheduler is not None:
        _try_steps(scheduler, steps)


def _made_from(own: Any, name: str) -> Any:
    import diffusers

    known = {entry: entry for entry in dir(diffusers) if entry.endswith("Scheduler") and not entry.startswith("Flax")}
    kind = getattr(diffusers, lookup(known, name, f"{PLACE}.scheduler"))
    try:
        made = kind.from_config(own.config)
    except (ImportError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        what = f"{name} cannot be made from the settings of {type(own).__name__} ({reason})"
        raise UserError(f"{PLACE}.scheduler: {what}. Choose another, or null for the pipeline's own.") from error
    if _matches_flow(made) != _matches_flow(own):
        what = f"{name} removes noise in another way than {type(own).__name__}, for which the model was trained"
        raise UserError(f"{PLACE}.scheduler: {what}: images would be noise. Choose one of its kind, or null.")
    return made


def _matches_flow(scheduler: Any) -> bool:
    settings = scheduler.config
    by_settings = settings.get("prediction_type") == "flow_prediction" or settings.get("use_flow_sigmas")
    return "FlowM" in type(scheduler).__name__ or bool(by_settings)


def _try_steps(scheduler: Any, steps: int) -> None:
    """A copy takes the steps; one that shifts with the image's size wants that shift, whose value does not matter."""
    copy = type(scheduler).from_config(scheduler.config)
    shifts = copy.config.get("use_dynamic_shifting") and "mu" in inspect.signature(copy.set_timesteps).parameters
    shift = {"mu": 1.0} if shifts else {}
    try:
        copy.set_timesteps(num_inference_steps=steps, **shift)
    except (ValueError, IndexError, AssertionError) as error:
        reason = " ".join(str(error).split())
        what = f"{type(scheduler).__name__} cannot take {steps} steps ({reason})"
        raise UserError(f"{PLACE}.steps: {what}. Change steps, or choose another scheduler.") from error
