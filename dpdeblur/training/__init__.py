"""Simulated training pairs and the training loop; imports neither rawpy, exifread nor typer, for bare GPU machines."""
