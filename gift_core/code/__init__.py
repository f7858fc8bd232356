"""What code a stage runs, and which of its edits make results stale."""
