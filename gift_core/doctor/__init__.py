"""Is everything there that the active experiment needs? Findings, a line each, and what to do about them."""
