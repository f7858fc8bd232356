"""Loss terms: pure functions of encodings."""
