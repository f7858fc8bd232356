"""A dry run at full size with random weights and little data, which measures every stage."""
