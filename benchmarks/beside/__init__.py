"""Every stage beside a naive way of doing its work: what benchmarks/bench.py measures."""
