"""How fast an accelerator draws and trains."""
