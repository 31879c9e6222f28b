"""What the benchmarks share: machine figures, peers, synthetic catalogues, and starting a service."""
