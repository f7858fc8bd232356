"""The environment variables by which the processes of a run know of each other, and what users switch for all."""

QUIET = "GIFT_QUIET"  # neither progress nor hints, in all processes: `gift --quiet`, and users set it
TRACKING = "GIFT_TRACKING"  # the tracker that each stage logs to, "mlflow" or "wandb": users set it
CLOCK = "GIFT_CLOCK"  # "processor": stages measure the processor's time, for a comparison on a busy machine
DVC_STAGE = "DVC_STAGE"  # the stage, as in dvc.yaml: DVC sets it for a stage's command, and `gift run` as DVC does
FORK_SERVER = "GIFT_FORK_SERVER"  # the socket of the fork server of this machine, which runs the stages of a command
PLAN = "GIFT_PLAN"  # the file with the expected seconds of each stage of `make repro`: its first stage writes it
OFFERS = "GIFT_OFFERS"  # the folder where a stage of `gift run` offers units of its work to free workers
