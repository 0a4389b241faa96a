"""Throughput, latency, scale and quality: seeded, one command each."""
