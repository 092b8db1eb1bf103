"""One photo from file to file: read it, choose a network, restore, write."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from dpdeblur.framing import WHOLE, Framing, frame_photo
from dpdeblur.inference import Restored, Restorer, Settings, choose_weights
from dpdeblur.photo import Photo
from dpdeblur.provenance import Note
from dpdeblur.readers import Capture, ReadOptions, read_photo
from dpdeblur.stages import Written
from dpdeblur.writers import WriteOptions, write_image


def restore_file(
    capture: Capture,
    restorer: Restorer,
    read_options: ReadOptions,
    write_options: WriteOptions,
    output: Path,
    framing: Framing = WHOLE,
) -> tuple[str, ...]:
    """Restore one photo: the program's story.

    Args:
        capture: The photo's file or files.
        restorer: The network, loaded.
        read_options: How bare files are to be understood.
        write_options: The form of the result.
        output: The file to write.
        framing: Which pixels.

    Returns:
        The warnings of all stages, one plain sentence each.

    Raises:
        DpDeblurError: The photo cannot be read, restored or written; nothing is left half-written.
    """
    photo = frame_photo(read_photo(capture, read_options), framing)
    restored = restorer.restore(photo)
    return write_restored(photo, restored, restorer, write_options, output, framing)


def write_restored(
    photo: Photo,
    restored: Restored,
    restorer: Restorer,
    write_options: WriteOptions,
    output: Path,
    framing: Framing = WHOLE,
) -> tuple[str, ...]:
    """Write a restored photo with its metadata and a note on how it was made; arguments as in `restore_file`.

    Returns:
        The warnings of reading, restoring and writing.

    Raises:
        WriteError: The file cannot be written.
    """
    note = describe_run(restorer, restored, framing)
    warnings = write_image(output, restored.image, photo, write_options, provenance=str(note))
    return (*photo.warnings, *restored.warnings, *warnings)


def mark_run(framing: Framing) -> str:
    """What `run` makes of a photo, in a word that tells a part from the whole: a part is no finished result."""
    return "run" if framing.crop is None else f"run crop={framing.crop}"


def describe_run(restorer: Restorer, restored: Restored, framing: Framing) -> Note:
    """The note that a result carries: the network, the weights' hash, and the settings that shaped its pixels."""
    card = restorer.card
    return Note(
        mark_run(framing),
        f"network {card.network}, weights {card.sha256[:12]}, strength {restorer.settings.strength:g},"
        f" working scale {restored.working_scale:g}",
    )


@dataclasses.dataclass(frozen=True)
class Result:
    """A restored photo that is not written yet."""

    photo: Photo
    restorer: Restorer
    restored: Restored


class Restoration:
    """The stages of `run` over many photos: each network is loaded once, when the first photo asks for it.

    Attributes:
        marker: What the results are, as their notes say it.
    """

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

        Raises:
            DpDeblurError: The weights cannot be used.
        """
        self.marker = mark_run(framing)
        self._read_options = read_options
        self._write_options = write_options
        self._settings = settings
        self._model = model
        self._weights = weights
        self._framing = framing
        self._announce = announce
        self._restorers: dict[Path, Restorer] = {}
        if weights is not None:
            self._load(weights)

    def read(self, capture: Capture) -> Photo:
        """Decode a photo; see `read_photo` for what it raises."""
        return frame_photo(read_photo(capture, self._read_options), self._framing)

    def process(self, photo: Photo) -> Result:
        """Restore a photo.

        Raises:
            DpDeblurError: No network fits the photo, or it cannot be restored.
        """
        restorer = self._choose(photo)
        return Result(photo, restorer, restorer.restore(photo))

    def write(self, result: Result, outputs: tuple[Path, ...]) -> Written:
        """Write a restored photo; see `write_restored`."""
        photo, restorer, restored = result.photo, result.restorer, result.restored
        warnings = write_restored(photo, restored, restorer, self._write_options, outputs[0], self._framing)
        height, width = photo.base.shape[:2]
        details = {
            "network": restorer.card.network,
            "weights": restorer.card.sha256,
            "device": restorer.device,
            "precision": restorer.precision,
            "working_scale": restored.working_scale,
            "tile_px": restored.tile_px,
            "clipped_share": photo.clipped_share,
        }
        return Written(width, height, warnings, details)

    def _choose(self, photo: Photo) -> Restorer:
        path = self._weights
        if path is None:
            path, _ = choose_weights(2 if photo.is_dual else 1, photo.kind, self._model, self._settings.device)
        return self._restorers.get(path) or self._load(path)

    def _load(self, path: Path) -> Restorer:
        restorer = Restorer(path, self._settings)
        self._restorers[path] = restorer
        self._announce(f"{restorer.card.network} ({path.name}) on {restorer.device} in {restorer.precision}")
        return restorer
