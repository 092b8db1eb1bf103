"""Examples of each command, for `--help` and the manual page; a test runs or parses every one."""

from __future__ import annotations

import typer

#: By command: what is typed, and what it is good for.
EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "run": (
        ("dpdeblur run PHOTOS -o sharp", "Restore a folder. What is done already is skipped."),
        ("dpdeblur run IMG_0001.CR2 --crop 200,150,300,200 -o preview", "Preview a part."),
        ("dpdeblur run IMG_0001.CR2 --strength 0.7 --format jpeg -o soft", "Take 70 % of the change, as a JPEG."),
        (
            "find PHOTOS -name '*.dng' -print0 | dpdeblur run --files-from - -0 -o sharp",
            "Take what find finds.",
        ),
        ("dpdeblur run PHOTOS -o sharp --report sharp.html", "Write a page that shows each photo before and after."),
        (
            "dpdeblur run PHOTOS -o sharp --shard 1/4",
            "Do the first of four shares, on one of four machines.",
        ),
    ),
    "split": (
        ("dpdeblur split IMG_0001.CR2", "Write split_views/IMG_0001_left.tif and IMG_0001_right.tif beside it."),
        ("dpdeblur split PHOTOS -o views --linear", "Linear light instead of sRGB, for measuring."),
        ("dpdeblur split PHOTOS -o data --dpdd-layout", "The folders that training and scoring programs expect."),
    ),
    "info": (
        ("dpdeblur info PHOTOS", "What each file is, and what run would do with it and why."),
        ("dpdeblur info PHOTOS --json", "The same for a program."),
        ("dpdeblur info PHOTOS --plot blur.png", "A picture of each photo's disparity and blur."),
    ),
    "compare": (
        ("dpdeblur compare PHOTOS sharp -o compared.html", "Originals against results, in a page to look at."),
        ("dpdeblur compare sharp soft", "Two results of the same photos."),
    ),
    "eval": (
        ("dpdeblur eval DPDD --layout dpdd --model k3dn --model gkmnet", "Score two networks beside the papers' rows."),
        ("dpdeblur eval SDD --layout sdd --sheet worst.jpg --csv sdd.csv", "The worst photos with their errors, too."),
        ("dpdeblur eval DPDD --layout dpdd --results theirs --bits 8", "Score what another program made."),
    ),
    "simulate": (
        ("dpdeblur simulate SHARP -o pairs --count 350", "A training set as large as DPDD's, from sharp photos."),
        ("dpdeblur simulate SHARP -o test --count 20 --split test --seed 9", "A test set, for eval --layout dpdd."),
    ),
    "train": (
        ("dpdeblur train --textures SHARP --minutes 60 -o trained", "Train K3DN for an hour on simulated pairs."),
        ("dpdeblur train --recipe gkmnet --pairs DPDD -o trained", "As GKMNet's paper did, on real pairs."),
        ("dpdeblur run PHOTOS --weights trained/k3dn.safetensors", "Use what came out."),
    ),
    "weights plot": (("dpdeblur weights plot log.csv -o course.png", "Draw the course of a training."),),
    "weights list": (("dpdeblur weights list", "The networks that came along, and what they measured."),),
    "weights verify": (("dpdeblur weights verify", "Check every tensor against the hashes on the cards."),),
    "weights import": (
        ("dpdeblur weights import theirs.pth -o theirs.safetensors", "Then: dpdeblur run --weights theirs.safetensors"),
    ),
    "weights join": (
        (
            "dpdeblur weights join k3dn.safetensors gkmnet.safetensors -o both.safetensors",
            "What the two change, added up.",
        ),
    ),
}


def attach_examples(app: typer.Typer, prefix: str = "") -> None:
    """Put the examples below the help of every command that has some.

    Args:
        app: Whose commands, and groups of commands, are meant.
        prefix: The groups that lead to it, each with a blank behind it.
    """
    for command in app.registered_commands:
        assert command.callback is not None
        name = command.name or command.callback.__name__
        if prefix + name in EXAMPLES:
            lines = [line for what, why in EXAMPLES[prefix + name] for line in (what, f"    {why}")]
            command.epilog = "\n".join(["Examples:", *lines])
    for group in app.registered_groups:
        if group.typer_instance is not None:
            attach_examples(group.typer_instance, f"{prefix}{group.name} ")
