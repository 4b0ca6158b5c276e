"""The way of a distribution: resolve, fetch, unpack, publish, link; and the collector that gives space back."""
