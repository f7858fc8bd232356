"""The data sets of published benchmarks: what is known about each (rows/), and readers of the official archives."""
