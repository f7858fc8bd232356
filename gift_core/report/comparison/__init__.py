"""The comparison over seeds: reads finished runs of one experiment, writes comparison.csv, comparison.json, a page."""
