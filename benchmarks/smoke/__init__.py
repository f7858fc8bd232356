"""A dry run at full size: models of the official shapes with random weights, tiny data, every stage measured."""
