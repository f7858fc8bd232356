"""The data sets of the published benchmarks: what is known of each (rows/), and readers of their official layouts."""
