"""The training loop as a program for machines without the CLI's packages.

    python -m dpdeblur.training --network k3dn --form '{"base": 32}' --textures PHOTOS --out FOLDER

Every field of `TrainOptions` is an option.
"""

import argparse
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dpdeblur.training.loop import TrainOptions, train

CONVERTERS: dict[str, Callable[[str], Any]] = {
    "form": json.loads,
    "compile": lambda text: text.lower() in ("1", "yes", "true"),
}
CONVERTERS |= dict.fromkeys(("textures", "out", "kernels", "scenes", "initial"), Path)
CONVERTERS |= {"stop_after": float, "steps": int}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=TrainOptions.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    defaults = TrainOptions()
    for field in dataclasses.fields(TrainOptions):
        default = getattr(defaults, field.name)
        parser.add_argument(
            f"--{field.name.replace('_', '-')}", type=CONVERTERS.get(field.name, type(default)), default=default
        )
    print(json.dumps(train(TrainOptions(**vars(parser.parse_args())))))
