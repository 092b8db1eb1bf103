"""Rebuild examples/captures: small dual-pixel captures of a drawn scene, blurred by dpdeblur's own simulator.

    python examples/make_examples.py [FOLDER]

The scene is a desk seen by a lens focused before it: a printed page that leans away, a striped card in front of it
and a heap of leaves behind, each out of focus by another amount. Nothing in it is a photograph, so nothing in it is
anybody's. The raw files are written by the test suite's own writers (tests/captures.py), from the left and the right
half-pixels' views with photon and read noise.
"""

import sys
from pathlib import Path

import numpy as np
import tifffile
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from captures import (
    dual_frames,
    mosaic_from_linear,
    record_pixel_view,
    write_dual_cr2,
    write_dual_dng,
    write_pixel_pair,
    write_single_dng,
)

from dpdeblur.colour.spaces import SRGB, encode_srgb
from dpdeblur.networks.light import decode_srgb
from dpdeblur.training.kernels import ideal_lenses
from dpdeblur.training.simulator import Scene, render_sharp, render_views
from dpdeblur.training.textures import draw_textures

HEIGHT_PX, WIDTH_PX, MARGIN_PX = 512, 768, 16
#: Signed radius of blur, in pixels, of leaves, page (far and near edge) and card.
LEAVES_PX, PAGE_PX, CARD_PX = 5.0, (3.8, 2.4), 3.2


def draw_scene() -> Scene:
    """Compose the layers, larger than the picture by a margin that the circular convolution spoils."""
    height, width = HEIGHT_PX + 2 * MARGIN_PX, WIDTH_PX + 2 * MARGIN_PX
    leaves, page, more_page, card = draw_textures(4, seed=11)
    tall = np.concatenate([page, more_page], 1)[:, : width - 80]
    textures = []
    for tiles in (np.concatenate([leaves, leaves[:, ::-1]], 1), tall, np.concatenate([card, card[::-1]], 1)):
        canvas = np.pad(tiles, ((0, height - 512), (0, max(0, width - tiles.shape[1])), (0, 0)), mode="reflect")
        textures.append(torch.from_numpy(canvas[:, :width].copy()).permute(2, 0, 1) / 255)
    texture = decode_srgb(torch.stack(textures)) * torch.tensor([0.55, 0.85, 0.7]).view(3, 1, 1, 1)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    on_page = (y > 90 + 0.12 * x) & (x > 60) & (x < width - 130 + 0.1 * y)
    on_card = (y + 0.55 * x > 0.94 * height) & (y - 0.5 * x > 120)
    opacity = torch.stack([torch.ones_like(x, dtype=torch.float32), on_page.float(), on_card.float()])
    # the page's depth runs in four slices from its upper to its lower edge
    position = (y / height * 3).clamp(0, 3)
    slices = torch.zeros(3, 4, height, width)
    slices[1] = torch.stack([(1 - (position - i).abs()).clamp(min=0) for i in range(4)])
    slices[0, 0] = slices[2, 0] = 1
    radius = torch.full((3, 4), LEAVES_PX)
    radius[1] = torch.linspace(*PAGE_PX, 4)
    radius[2] = CARD_PX
    return Scene(texture[None], opacity[None, :, None], slices[None], radius[None])


def render() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Left view, right view and the sharp scene, (H, W, 3) float32 linear sRGB."""
    scene = draw_scene()
    pictures = (*render_views(scene, ideal_lenses(1, ramp=0.42), MARGIN_PX), render_sharp(scene))
    inner = slice(MARGIN_PX, -MARGIN_PX)
    left, right, sharp = (picture[0, :, inner, inner].permute(1, 2, 0).numpy() for picture in pictures)
    return left, right, sharp


def main(folder: Path) -> None:
    """Write one capture of every kind into the folder, and the sharp scene beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    left, right, sharp = render()
    frame0, frame1 = dual_frames(left, right, electrons_at_white=40000, read_noise=3, seed=1)
    write_dual_cr2(folder / "desk_canon.cr2", frame0, frame1)
    half = slice(HEIGHT_PX // 4, HEIGHT_PX // 4 + HEIGHT_PX // 2), slice(WIDTH_PX // 4, WIDTH_PX // 4 + WIDTH_PX // 2)
    write_dual_dng(folder / "desk_adobe.dng", frame0[half], frame1[half])
    mean = (left + right) / 2
    single = mosaic_from_linear(mean[half], electrons_at_white=40000, read_noise=3, seed=2)
    write_single_dng(folder / "desk_single.dng", single)
    views = (record_pixel_view(view[..., 1]) for view in (left, right))
    write_pixel_pair(folder, "20260305_101500_042", *views)
    codes = np.rint(np.clip(encode_srgb(mean[half]), 0, 1) * 65535).astype(np.uint16)
    tifffile.imwrite(
        folder / "desk_photo.tif",
        codes,
        photometric="rgb",
        compression="zlib",
        predictor=2,
        iccprofile=SRGB.icc,
        metadata=None,
    )
    sharp_codes = np.rint(np.clip(encode_srgb(sharp), 0, 1) * 255).astype(np.uint8)
    tifffile.imwrite(folder.parent / "desk_sharp.tif", sharp_codes, photometric="rgb", compression="zlib", predictor=2)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "captures")
