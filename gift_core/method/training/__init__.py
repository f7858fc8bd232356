"""Fine-tuning on a task: the loop, and what makes an iteration fit into memory."""
