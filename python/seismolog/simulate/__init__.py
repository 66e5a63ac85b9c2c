"""Simulated logs with known truth, in the formats that real servers write."""
