"""How a training run is driven: snapshots, prefetched batches, and several processes that share each batch."""
