"""The layout on disk, and the only writer of its buckets."""
