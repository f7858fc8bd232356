"""The data sets of published benchmarks: what is known of each (rows/), class orders, readers of official archives."""
