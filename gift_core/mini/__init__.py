"""The embedded miniature benchmark: rendered symbols, their names, and two small models pre-trained on them."""
