"""dpdeblur: turns out-of-focus dual-pixel photographs sharp.

For Python: `restore`, `restore_array` and `read_views`, or a `Deblurrer` that keeps its networks loaded; see
`dpdeblur.api`. They are loaded when they are first used, so that `import dpdeblur` itself costs nothing.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "Deblurrer",
    "DpDeblurError",
    "ReadOptions",
    "Views",
    "Written",
    "__version__",
    "read_views",
    "restore",
    "restore_array",
]

if TYPE_CHECKING:
    from dpdeblur.api import Deblurrer, ReadOptions, Views, Written, read_views, restore, restore_array
    from dpdeblur.errors import DpDeblurError
else:

    def __getattr__(name: str) -> object:
        """Load the part of the API that was asked for."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module("dpdeblur.errors" if name == "DpDeblurError" else "dpdeblur.api"), name)


def __dir__() -> list[str]:
    """The names that are there, loaded or not."""
    return sorted({*globals(), *__all__})
