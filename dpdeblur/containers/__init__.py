"""Where JPEG, PNG, Canon's CR3 and Fuji's RAF keep their metadata: finders collect the blocks and interpret none."""

from __future__ import annotations

from dpdeblur.containers.blocks import Blocks
from dpdeblur.containers.cr3 import find_in_cr3, iterate_boxes
from dpdeblur.containers.jpeg import find_in_jpeg, find_in_raf
from dpdeblur.containers.png import find_in_png

__all__ = ["Blocks", "find_in_cr3", "find_in_jpeg", "find_in_png", "find_in_raf", "iterate_boxes"]
