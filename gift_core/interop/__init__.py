"""CLIP models in the formats of other libraries: foreign weights in, exports out. Nothing in a file is executed."""
