"""What passes between stages: one file an artifact, with its schema, atomic write, and a read that validates."""
