"""The recipe of the two shipped mini models: tokenizer, CLIP, autoencoder, UNet, export."""
