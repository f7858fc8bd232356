"""Which (image, text) pairs protect the past, and what the teacher says of them."""
