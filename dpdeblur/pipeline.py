"""One photo from file to file: read it, choose a network, restore, write."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

from dpdeblur.batch.markers import mark_run
from dpdeblur.batch.stages import Written, read_framed
from dpdeblur.errors import NoSecondViewError
from dpdeblur.framing import Framing, crop_photo
from dpdeblur.metadata.provenance import Note, abbreviate_hash
from dpdeblur.networks import NETWORKS
from dpdeblur.photo import Image, Kind, Photo
from dpdeblur.readers import ReadOptions
from dpdeblur.restoration.choice import choose_weights
from dpdeblur.restoration.defocus import DefocusMap, map_defocus
from dpdeblur.restoration.disparity_map import has_second_view
from dpdeblur.restoration.inference import Restored, Restorer, Settings
from dpdeblur.weights import list_weights, read_card
from dpdeblur.writers import WriteOptions, write_image
from dpdeblur.writers.defocus import write_defocus_map
from dpdeblur.writers.preview import Preview

#: Looks at a photo, its restored picture and its map of defocus for a report.
Examine = Callable[[Photo, Image, DefocusMap], Preview | None]


@dataclasses.dataclass(frozen=True)
class Result:
    """A restored photo that is not written yet."""

    photo: Photo
    restorer: Restorer
    restored: Restored


def choose_network(
    is_dual: bool, kind: Kind, *, is_gray: bool, model: str, weights: Path | None, device: str
) -> tuple[Path, str]:
    """Choose the weights for one photo of a batch.

    Args:
        is_dual: Whether the photo has both views.
        kind: What it is.
        is_gray: Whether it has shades of gray only.
        model: A network's name, or `auto`.
        weights: A weights file that overrides the choice, or None.
        device: Where it would run.

    Returns:
        The weights file, and the reason in words.

    Raises:
        NoSecondViewError: What was asked for needs two views: this photo fails, others may not.
        WeightsError: The weights that were named are none.
        UsageError: There are no such weights or devices, for any photo.
    """
    network = model if weights is None else read_card(weights).network
    if not is_dual and network != "auto" and NETWORKS[network].views == 2:
        raise NoSecondViewError(f"{network} needs a left and a right view", remedy="use --model auto or gkmnet")
    if weights is not None:
        return weights, f"{network}: asked for by --weights"
    return choose_weights(2 if is_dual else 1, kind, model, device, is_gray=is_gray)


def list_candidates(model: str, weights: Path | None) -> frozenset[str]:
    """List the weights among which `choose_network` chooses, by their abbreviated hashes.

    Raises:
        WeightsError: The weights that were named are none.
    """
    if weights is not None:
        return frozenset((abbreviate_hash(read_card(weights).sha256),))
    cards = [read_card(path) for path in list_weights()]
    return frozenset(abbreviate_hash(card.sha256) for card in cards if model in ("auto", card.network))


class Restoration:
    """The stages of `run` over many photos: each network is loaded once, when the first photo asks for it."""

    def __init__(
        self,
        *,
        read_options: ReadOptions,
        write_options: WriteOptions,
        settings: Settings,
        model: str,
        weights: Path | None,
        framing: Framing,
        announce: Callable[[str], None],
        advance: Callable[[float], None],
        examine: Examine | None = None,
        keeps_photo: bool = True,
    ) -> None:
        """Load the weights that were named, so that bad ones are found before any work.

        Args:
            read_options: How bare files are to be understood.
            write_options: The form of the results.
            settings: Device, precision, tiles, strength.
            model: A network's name, or `auto` for the best one for each photo.
            weights: A weights file that overrides the choice, or None.
            framing: Which pixels are restored.
            announce: Told each network that is loaded, with its device and precision.
            advance: Told the share of a photo that was restored since the last call.
            examine: Looks at each photo that is written, or None.
            keeps_photo: Keep each photo as it was until it is written, for `examine` or a map of defocus. Otherwise
                its result takes its place and its views are let go, which spares a picture, or three.

        Raises:
            DpDeblurError: The weights cannot be used.
        """
        #: Decodes a photo, see `read_framed`: all of it, as a part is to look as it will in the whole.
        self.read = functools.partial(read_framed, options=read_options, framing=framing.uncropped)
        self._read_options = read_options
        self._write_options = write_options
        self._settings = settings
        self._model = model
        self._weights = weights
        self._framing = framing
        self._announce = announce
        self._advance = advance
        self._examine = examine
        self._keeps_photo = keeps_photo
        self._restorers: dict[Path, Restorer] = {}
        if weights is not None:
            self._load(weights)

    def estimate_bytes(self, photo: Photo) -> int:
        """The most that a result takes: 16 bits a sample, and the metadata."""
        return photo.base.size * 2 + 1_000_000

    def process(self, photo: Photo) -> Result:
        """Restore a photo, whose arrays may be overwritten.

        Raises:
            DpDeblurError: No network fits the photo, or it cannot be restored.
        """
        if photo.is_dual and self._model == "auto" and self._weights is None and not has_second_view(photo):
            warning = "The views are alike: it was restored as a single image."
            photo = dataclasses.replace(photo, left=None, right=None, warnings=(*photo.warnings, warning))
        restorer = self._choose(photo)
        part = self._framing.crop
        restored = restorer.restore(photo, self._advance, part, in_place=not self._keeps_photo)
        if part is not None:
            photo = crop_photo(photo, part)
        if not self._keeps_photo:
            photo = dataclasses.replace(photo, base=restored.image, left=None, right=None)
        return Result(photo, restorer, restored)

    def write(self, result: Result, outputs: tuple[Path, ...], options: WriteOptions | None = None) -> Written:
        """Write a restored photo with its metadata and a note on how it was made.

        Args:
            result: The photo.
            outputs: The file, and behind it that of the map of defocus, where one is wanted.
            options: Its form, where it is not that of all results.

        Raises:
            WriteError: The file cannot be written.
        """
        photo, restored, card = result.photo, result.restored, result.restorer.card
        settings, options = self._settings, options or self._write_options
        strength = 1.0 if card.released else settings.strength
        note = Note(
            mark_run(
                self._framing,
                self._read_options,
                strength=settings.strength,
                scale=settings.working_scale,
                ensemble=settings.ensemble,
                profile=options.profile,
            ),
            f"network {card.network}, weights {abbreviate_hash(card.sha256)}, strength {strength:g},"
            f" working scale {restored.working_scale:g}",
            photo.fingerprint,
        )
        warnings = write_image(outputs[0], restored.image, photo, options, provenance=str(note))
        height, width = photo.base.shape[:2]
        preview = None
        if len(outputs) > 1 or self._examine is not None:
            defocus = map_defocus(photo)
            for path in outputs[1:]:
                write_defocus_map(path, defocus, (height, width), photo.orientation, provenance=str(note))
                if defocus.quantity != "disparity":
                    warnings += ("It has one view: the map of defocus holds the radius of the blur, not disparity.",)
            if self._examine is not None:
                preview = self._examine(photo, restored.image, defocus)
        details = {
            "kind": photo.kind,
            "network": card.network,
            "weights": card.sha256,
            "device": result.restorer.device,
            "precision": restored.precision,
            "strength": strength,
            "ensemble": settings.ensemble,
            "working_scale": restored.working_scale,
            "tile_px": restored.tile_px,
            "clipped_share": photo.clipped_share,
        }
        return Written(width, height, (*photo.warnings, *restored.warnings, *warnings), details, preview)

    def _choose(self, photo: Photo) -> Restorer:
        path, _ = choose_network(
            photo.is_dual,
            photo.kind,
            is_gray=photo.is_gray,
            model=self._model,
            weights=self._weights,
            device=self._settings.device,
        )
        return self._restorers.get(path) or self._load(path)

    def _load(self, path: Path) -> Restorer:
        restorer = Restorer(path, self._settings)
        self._restorers[path] = restorer
        settings = self._settings
        if restorer.card.released and (settings.strength != 1 or settings.working_scale is not None):
            self._announce("imported weights give their own picture: --strength and --scale do not apply")
        self._announce(f"{restorer.card.network} ({path.name}) on {restorer.device} in {restorer.precision}")
        return restorer
