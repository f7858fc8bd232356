"""Published results of the benchmarks, kept as baselines to compare a run with."""
