"""Any CLIP from anywhere: names, checkpoints of other codes, transformers folders; nothing in a file is executed."""
