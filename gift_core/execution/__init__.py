"""Running the stages of a pipeline several at a time, on this machine or on a Ray cluster. Nothing here knows DVC."""
