"""Working on one experiment together: remotes, merging, the hub, and what may be shipped."""
