"""Colour: spaces, tone curves and ICC profiles."""
