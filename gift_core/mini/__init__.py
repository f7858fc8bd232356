"""The embedded miniature world: rendered glyphs, their names, and two small models pre-trained on them."""
