"""Scoring restorations against references."""
