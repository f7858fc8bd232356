"""Text-to-image generation with any diffusers pipeline, one seed per image, and optional quality filters."""
