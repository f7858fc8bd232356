"""The CLIP under study: architectures, tokenizers, loading and saving, images, features, training batches."""
