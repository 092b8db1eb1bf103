"""A scene of a data set, opened: what the networks get, what they are compared with."""

from __future__ import annotations

import dataclasses

import numpy as np

from dpdeblur.colour.spaces import encode_srgb
from dpdeblur.errors import DpDeblurError, ReadError
from dpdeblur.evaluation.alignment import register_reference
from dpdeblur.evaluation.datasets import Scene
from dpdeblur.evaluation.metrics import Floats
from dpdeblur.evaluation.pictures import check_shape, encode_picture, read_picture
from dpdeblur.evaluation.protocols import Layout
from dpdeblur.framing import Crop, crop_photo
from dpdeblur.photo import Photo
from dpdeblur.readers import Capture, ReadOptions, read_photo
from dpdeblur.restoration.change import mean_views

#: The Pixel scenes of Xin et al., ICCV 2021: 14-bit values, black included.
_PIXEL_BLACK, _PIXEL_WHITE = 1024.0, 16383.0
#: They are shown at the exposure at which this share of the reference's pixels is below this linear value.
_EXPOSED_SHARE, _EXPOSED_TO = 0.995, 0.9


@dataclasses.dataclass(frozen=True)
class OpenScene:
    """The pictures of a scene.

    Attributes:
        scene: Its files.
        single: What networks for one picture get: the blurred photo, or the views, whose mean they take.
        dual: What networks for two views get, or None.
        blurred: (H, W, C), the blurred photo as it is scored: the row `input` of the tables.
        reference: (H, W, C), likewise.
    """

    scene: Scene
    single: Photo
    dual: Photo | None
    blurred: Floats
    reference: Floats


def open_scene(scene: Scene, layout: Layout) -> OpenScene:
    """Read the pictures of a scene.

    Raises:
        DpDeblurError: One cannot be read, or they do not fit each other.
    """
    return _open_pixel4(scene) if layout == "pixel4" else _open_files(scene)


def _open_files(scene: Scene) -> OpenScene:
    dual = None if scene.views is None else read_photo(Capture(scene.views, "pair"))
    single = dual if scene.blurred is None else read_photo(Capture((scene.blurred,)))
    assert single is not None, "a scene has views or a blurred photo"
    reference = read_picture(scene.sharp)
    for photo in (single, dual):
        if photo is not None:
            check_shape(encode_picture(photo, photo.base), reference, photo.paths[0], scene.sharp)
    return OpenScene(scene, single, dual, encode_picture(single, single.base), reference)


def _open_pixel4(scene: Scene) -> OpenScene:
    """Read a Pixel 4 scene (S. Xin et al., "Defocus Map Estimation and Deblurring ...", ICCV 2021) as encoded pictures.

    Black is subtracted, the right view evened out by the white sheets, all cut to the reference's centre part; the
    reference gets the views' mean and is laid on them, because the lens moves between exposures (by up to 3 pixels and
    0.5 %). Both are exposed by the reference and clipped as a picture is.
    """
    assert scene.views is not None, "the layout has views only"
    folder = scene.views[0].parent
    sheets = (folder / "calibration" / "white_sheet_left.png", folder / "calibration" / "white_sheet_right.png")
    options = ReadOptions(black_level=_PIXEL_BLACK, white_level=_PIXEL_WHITE, white_sheet=sheets)
    photo = read_photo(Capture(scene.views, "pixel"), options)
    stored = read_photo(Capture((scene.sharp,)), ReadOptions(linear=True)).base.astype(np.float64)
    height, width, _ = stored.shape
    rows, columns, _ = photo.base.shape
    if height > rows or width > columns:
        raise ReadError(f"is larger than {scene.views[0].name}", path=scene.sharp, remedy="give the set as published")
    photo = crop_photo(photo, Crop((columns - width) // 2, (rows - height) // 2, width, height))
    assert photo.left is not None and photo.right is not None, "a pair has both"
    left, right = (np.maximum(view, 0) for view in (photo.left, photo.right))
    reference = stored * (float(mean_views((left, right)).mean()) / max(float(stored.mean()), 1e-9))
    exposed = float(np.quantile(reference, _EXPOSED_SHARE))
    if not exposed > 0:
        raise ReadError("is black", path=scene.sharp, remedy="copy it again")
    gain = np.float32(_EXPOSED_TO / exposed)
    left, right = (np.clip(view * gain, 0, 1) for view in (left, right))
    base = mean_views((left, right))
    photo = dataclasses.replace(photo, base=base, left=left, right=right)
    seen = encode_srgb(base[..., 0])
    encoded = encode_srgb(np.clip(reference[..., 0] * float(gain), 0, 1).astype(np.float32)).astype(np.float64)
    try:
        laid = register_reference(encoded, seen.astype(np.float64))
    except DpDeblurError as error:
        raise ReadError(error.cause, path=scene.sharp) from error
    return OpenScene(scene, photo, photo, encode_picture(photo, base), np.clip(laid, 0, 1)[..., None])
