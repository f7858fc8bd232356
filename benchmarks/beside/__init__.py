"""Every stage beside a naive way of doing its work: what benchmarks/stages.py measures."""
