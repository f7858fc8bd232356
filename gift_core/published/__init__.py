"""What was published of the benchmarks: facts, kept as baselines beside a run of one's own."""
