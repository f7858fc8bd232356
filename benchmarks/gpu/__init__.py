"""The speed of generation and training on an accelerator."""
