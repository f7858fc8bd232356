"""How work is done: resumed, shared with helpers, overlapped with a GPU, published whole."""
