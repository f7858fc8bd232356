"""The report of a run: metrics.json, the files behind `dvc plots`, and one self-contained page."""
