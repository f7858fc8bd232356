"""GIFT as a library: everything the stages call, and nothing that knows of DVC or the command line."""
