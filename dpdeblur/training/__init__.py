"""Making training pairs and training the networks; imports neither rawpy, exifread nor typer, so it runs on bare GPU machines."""
