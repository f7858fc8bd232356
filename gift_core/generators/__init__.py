"""Text to image: any diffusers pipeline, one seeded generator an image, black images drawn again."""
