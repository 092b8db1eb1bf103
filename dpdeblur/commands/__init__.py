"""The commands: one file each, what they share in `options`, `photos` and `reporter`."""
