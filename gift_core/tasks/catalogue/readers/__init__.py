"""Readers of official archives as they unpack: one file a data set, `read(folder)` lists its images, decodes none."""
