"""Text to image: any diffusers pipeline, one seeded generator an image; black or unfit images are drawn again."""
