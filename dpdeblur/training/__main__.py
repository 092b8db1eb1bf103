"""The training loop as a program for machines without the CLI's packages.

    python -m dpdeblur.training --network k3dn --form '{"base": 32}' --textures PHOTOS --out FOLDER

Every field of `TrainOptions` is an option. `torchrun --nproc-per-node 4 -m dpdeblur.training ...` uses four GPUs.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dpdeblur.errors import DpDeblurError
from dpdeblur.training.loop import train
from dpdeblur.training.options import TrainOptions


def parse_switch(text: str) -> bool:
    """Read yes or no."""
    return text.lower() in ("1", "yes", "true")


def parse_numbers(text: str) -> tuple[float, ...]:
    """Read numbers between commas."""
    return tuple(float(part) for part in text.split(","))


#: How the text of an option becomes its value, by the names in its type.
CONVERTERS: tuple[tuple[str, Callable[[str], Any]], ...] = (
    ("dict", json.loads),
    ("Path", Path),
    ("tuple", parse_numbers),
    ("bool", parse_switch),
    ("int", int),
    ("float", float),
    ("str", str),
    ("Literal", str),
)


def main() -> int:
    """Read the options, train, and print the best scores."""
    parser = argparse.ArgumentParser(
        description=TrainOptions.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    defaults = TrainOptions()
    for field in dataclasses.fields(TrainOptions):
        convert = next(function for name, function in CONVERTERS if name in str(field.type))
        default = getattr(defaults, field.name)
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=convert, default=default)
    try:
        print(json.dumps(train(TrainOptions(**vars(parser.parse_args())))))
    except DpDeblurError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
