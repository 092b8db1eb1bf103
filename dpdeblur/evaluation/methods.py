"""What is scored: networks that restore a scene, and results that another program left in a folder."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from dpdeblur.errors import NoSecondViewError, ReadError, UsageError
from dpdeblur.evaluation.datasets import Scene
from dpdeblur.evaluation.metrics import Floats
from dpdeblur.evaluation.pictures import check_shape, encode_picture, read_picture
from dpdeblur.evaluation.scenes import OpenScene
from dpdeblur.networks import NETWORKS
from dpdeblur.readers import IMAGE_SUFFIXES
from dpdeblur.restoration.choice import choose_weights
from dpdeblur.restoration.inference import Restorer, Settings
from dpdeblur.weights import read_card


class Method(Protocol):
    """Something that makes a sharp picture of a scene."""

    name: str

    def restore(self, scene: OpenScene, advance: Callable[[float], None]) -> Floats:
        """Make the picture: (H, W, C) as the scene's reference; tell the share of the work done.

        Raises:
            DpDeblurError: This scene cannot be restored.
        """
        ...


@dataclasses.dataclass
class _Loaded:
    """The networks that are in use, by their weights: methods share them."""

    settings: Settings
    announce: Callable[[str], None]
    restorers: dict[Path, Restorer] = dataclasses.field(default_factory=dict)

    def get(self, path: Path) -> Restorer:
        if path not in self.restorers:
            restorer = Restorer(path, self.settings)
            self.announce(f"{restorer.card.network} ({path.name}) on {restorer.device} in {restorer.precision}")
            self.restorers[path] = restorer
        return self.restorers[path]


class NetworkMethod:
    """A network with the program's own weights, or those of a file."""

    def __init__(self, name: str, weights: Path | None, loaded: _Loaded) -> None:
        """Name what is scored; nothing is loaded.

        Args:
            name: A network's name or `auto`; of a weights file, what the table calls it.
            weights: The file, or None for the program's own.
            loaded: The networks in use.
        """
        self.name = name
        self._weights = weights
        self._loaded = loaded

    def restore(self, scene: OpenScene, advance: Callable[[float], None]) -> Floats:
        """Restore a scene from its two views, or from the blurred photo where the network takes one."""
        settings = self._loaded.settings
        path = self._weights
        if path is None:
            seen = scene.dual or scene.single
            views = 2 if scene.dual is not None else 1
            path, _ = choose_weights(views, seen.kind, self.name, settings.device, is_gray=seen.is_gray)
        restorer = self._loaded.get(path)
        photo = scene.dual if restorer.views == 2 else scene.single
        if photo is None:
            raise NoSecondViewError("the set has no left and right views", path=scene.scene.sharp)
        return encode_picture(photo, restorer.restore(photo, advance).image)


class FolderMethod:
    """Results that lie in a folder already, found by the names of their scenes."""

    def __init__(self, folder: Path) -> None:
        """List the folder.

        Raises:
            UsageError: There is no such folder.
        """
        self.name = folder.resolve().name
        self._folder = folder
        self._files = list_files(folder)

    def restore(self, scene: OpenScene, advance: Callable[[float], None]) -> Floats:
        """Read a result; of a colour result for a gray scene, the mean of its channels."""
        path = find_result(self._files, scene.scene, self._folder)
        picture = read_picture(path)
        if scene.reference.shape[2] == 1:
            picture = picture.mean(axis=2, keepdims=True)
        check_shape(picture, scene.reference, path, scene.scene.sharp)
        advance(1.0)
        return picture


def list_files(folder: Path) -> list[Path]:
    """List the images of a folder and the folders below it.

    Raises:
        UsageError: There is no such folder.
    """
    if not folder.is_dir():
        raise UsageError("is no folder of pictures", path=folder)
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())


def find_result(files: list[Path], scene: Scene, folder: Path) -> Path:
    """Find the one file that is a scene's result: of its name, or with its name between other words.

    Args:
        files: All images of the folder.
        scene: Whose result; a result may also bear its reference's name.
        folder: For messages.

    Raises:
        ReadError: There is none, or more than one.
    """
    names = list(dict.fromkeys((Path(scene.name).name, scene.sharp.stem)))
    for fits in (_is_name, _holds_name):
        for name in names:
            found = [path for path in files if fits(path.stem, name)]
            if len(found) == 1:
                return found[0]
            if found:
                cause = f"holds {len(found)} results for {scene.name}: {found[0].name}, {found[1].name}"
                raise ReadError(cause, path=folder, remedy="keep one of them there")
    raise ReadError(f"holds no result for {scene.name}", path=folder, remedy=f"name it like {names[0]}.png")


def _is_name(stem: str, name: str) -> bool:
    return stem == name


def _holds_name(stem: str, name: str) -> bool:
    """Whether a name stands in a stem as a word: `IMG_7` in `IMG_7_sharp`, not in `IMG_71`."""
    return re.search(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", stem) is not None


def make_methods(
    models: list[str],
    weights: list[Path],
    results: list[Path],
    *,
    settings: Settings,
    has_views: bool,
    announce: Callable[[str], None],
) -> list[Method]:
    """Make all that is to be scored, and refuse what cannot be before any work; `auto` where nothing is named.

    Args:
        models: Networks' names and `auto`.
        weights: Weights files.
        results: Folders.
        settings: Device and the like.
        has_views: Whether the set has left and right views.
        announce: Told each network that is loaded.

    Raises:
        DpDeblurError: A name, file or folder cannot be used with this set.
    """
    loaded = _Loaded(settings, announce)
    if not models and not weights and not results:
        models = ["auto"]
    methods: list[Method] = []
    for model in models:
        if model in NETWORKS and NETWORKS[model].views == 2 and not has_views:
            raise UsageError(f"{model} needs left and right views, and the set has none", remedy="use --model gkmnet")
        choose_weights(2 if has_views else 1, "pair" if has_views else "image", model, settings.device)
        methods.append(NetworkMethod(model, None, loaded))
    for path in weights:
        card = read_card(path)
        if NETWORKS[card.network].views == 2 and not has_views:
            raise UsageError(f"{card.network} needs left and right views, and the set has none", path=path)
        methods.append(NetworkMethod(path.stem, path, loaded))
    methods += [FolderMethod(folder) for folder in results]
    return _name_apart(methods)


def _name_apart(methods: list[Method]) -> list[Method]:
    """Give methods of one name numbers: rows of a table must be told apart."""
    seen: dict[str, int] = {}
    for method in methods:
        seen[method.name] = seen.get(method.name, 0) + 1
        if seen[method.name] > 1:
            method.name = f"{method.name} ({seen[method.name]})"
    return methods
