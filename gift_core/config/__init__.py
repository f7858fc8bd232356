"""params.yaml as frozen, strictly checked sections."""
