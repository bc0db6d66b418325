"""``python -m train COMMAND``: each command's arguments live in its own module."""

from __future__ import annotations

import importlib
import sys

from octcube_core.errors import OCTCubeError

COMMANDS = {
    "phantoms": ("train.data.phantoms", "make a store of synthetic eyes"),
    "prepare": ("train.data.prepare", "make a store of exams of any format"),
    "mae": ("train.mae", "pre-train a masked autoencoder on a store"),
    "coep": ("train.coep", "align OCT volumes and en-face images of the same eyes"),
    "finetune": ("train.finetune", "train a model for labels or values on a store"),
    "icd-labels": ("train.data.icd_labels", "make a label table of diagnosis codes"),
    "evaluate": ("train.evaluation.evaluate", "predict a split, with figures and intervals"),
    "export": ("train.export", "write a training checkpoint for the viewer or the reference"),
    "family": ("train.family.run", "train and measure a whole family of small models"),
    "prove": ("train.family.prove", "what a trained family reaches, beside what it should"),
    "benchmark": ("train.evaluation.benchmark", "measure a model on unseen synthetic eyes"),
    "center-slice": ("train.evaluation.center_slice", "compare volumes with their middle B-scan"),
    "mae-speed": ("train.evaluation.mae_speed", "measure MAE training by its decode_fraction"),
    "memory": ("train.evaluation.memory", "measure or estimate the memory that fine-tuning takes"),
}


def _usage() -> str:
    lines = "\n".join(f"  {name:<12} {what}" for name, (_, what) in COMMANDS.items())
    return (
        f"usage: python -m train COMMAND [options]   (COMMAND --help lists the options)\n\n{lines}"
    )


def main(arguments: list[str]) -> int:
    """Run one command; returns the exit code: 0, or 2 after a user's error."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
        return 0
    if arguments[0] not in COMMANDS:
        print(
            f"train: error: there is no command {arguments[0]!r}; known are {', '.join(COMMANDS)}",
            file=sys.stderr,
        )
        return 2
    try:
        module = importlib.import_module(COMMANDS[arguments[0]][0])
        module.main(arguments[1:])
    except (OCTCubeError, OSError) as error:
        print(f"train: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("train", "octcube_core"):
            raise
        print(
            f'train: error: {error.name} is not installed; run pip install "napari-octcube[train]"',
            file=sys.stderr,
        )
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
