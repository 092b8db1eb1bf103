"""dpdeblur: turns out-of-focus dual-pixel photographs sharp."""

__version__ = "0.1.0"
