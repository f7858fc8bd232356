"""Working on one experiment together: remotes, merging, trying values, and the pipeline as a graph."""
