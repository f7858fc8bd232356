"""The model under study: loading, encoding, batches of images, the zero-shot head, saving."""
