"""The stages of the family: synthetic eyes, masked autoencoders, alignment, fine-tuning, evaluation, products."""

from __future__ import annotations

from train.family.stages import Stage

SEEDS = range(5)
SIZE = ("--size", "30", "128", "128", "--image-size", "128", "128")

# Short runs, at a quarter of the tokens: ten of them have to fit the time.
FEW = (
    "--trainer.max_epochs=5",
    "--trainer.check_val_every_n_epoch=5",
    "--data.batch_size=4",
    "--model.kept_tokens=0.25",
)


def plan(*, small: bool = False) -> list[Stage]:
    """All stages in their order; ``small`` ones have a few eyes and steps, to see that everything runs."""
    return [
        *_stores(small),
        _train("mae", "mae", "mae.yaml", "eyes", small=small),
        _train("mae-enface", "mae", "mae_enface.yaml", "eyes", small=small),
        _train(
            "diseases",
            "finetune",
            "finetune_diseases.yaml",
            "eyes",
            "--model.start_from={family}/mae.safetensors",
            needs=("mae",),
            small=small,
        ),
        _train(
            "coep",
            "coep",
            "coep.yaml",
            "eyes",
            "--model.start_from_oct={family}/mae.safetensors",
            "--model.start_from_enface={family}/mae-enface.safetensors",
            needs=("mae", "mae-enface"),
            small=small,
        ),
        _train(
            "ga",
            "finetune",
            "finetune_ga.yaml",
            "ga-eyes",
            "--model.start_from={family}/mae.safetensors",
            "--model.start_enface_from={family}/mae-enface.safetensors",
            needs=("mae", "mae-enface"),
            small=small,
        ),
        _train(
            "ga-faf",
            "finetune",
            "finetune_ga_faf.yaml",
            "ga-eyes",
            "--model.start_from={family}/mae-enface.safetensors",
            needs=("mae-enface",),
            small=small,
        ),
        *_comparisons(small),
        Stage(
            "demo",
            _evaluation(
                "diseases",
                "eyes",
                "{family}/demo.safetensors",
                "--calibrate",
                "--saliency=hirescam:norm1",  # points best by far: docs/benchmarks.md
            ),
            "demo.safetensors",
            needs=("diseases", "make-eyes"),
        ),
        *_evaluations(),
        Stage(
            "proof",
            ("prove", "--family={family}"),
            "proof.json",
            needs=(*(f"test-{name}" for name in TESTED), *(f"test-{name}" for name in _compared())),
        ),
    ]


# Model -> store of unseen eyes that it is measured on, and the stage that makes the model.
TESTED = {
    "demo": ("unseen", "demo"),
    "coep": ("unseen", "coep"),
    "center": ("unseen", "center"),
    "ga": ("unseen-ga", "ga"),
    "ga-faf": ("unseen-ga", "ga-faf"),
}


def _stores(small: bool) -> list[Stage]:
    def store(name: str, *arguments: str) -> Stage:
        out = ("phantoms", "--out={family}/" + name, *SIZE, *arguments)
        return Stage(f"make-{name}", out, name)

    many = "6" if small else "900"
    return [
        store("eyes", "--kind=eyes", "--patients", many, "--test-share=0"),
        store("ga-eyes", "--kind=ga", "--n", "16" if small else "2000", "--test-share=0"),
        store("unseen", "--kind=eyes", "--unseen", "--n", "12" if small else "600"),
        store("unseen-ga", "--kind=ga", "--unseen", "--n", "12" if small else "400"),
    ]


def _train(
    name: str,
    command: str,
    config: str,
    store: str,
    *arguments: str,
    needs: tuple[str, ...] = (),
    small: bool = False,
) -> Stage:
    folders = (
        "--data.store={family}/" + store,
        "--export={family}/" + name + ".safetensors",
        "--trainer.default_root_dir={stage}",
    )
    little = (
        "--trainer.max_epochs=1",
        "--trainer.check_val_every_n_epoch=1",
        "--data.batch_size=2",
    )
    return Stage(
        name,
        (command, *folders, *arguments, *(little if small else ())),
        f"{name}.safetensors",
        needs=(f"make-{store}", *needs),
        config=config,
        trains=True,
    )


def _compared() -> list[str]:
    return [f"few-{start}-{seed}" for seed in SEEDS for start in ("mae", "scratch")]


def _comparisons(small: bool) -> list[Stage]:
    """Fine-tuning with a fifth of the labels, from the masked autoencoder and from scratch; and the center slice."""
    center = (
        "--data.center_slice=3",
        "--model.card.architecture.grid=[1,8,8]",
        "--model.kept_tokens=1",  # of 64, and as many more views of each in the same time
        "--data.batch_size=4",
        "--trainer.max_epochs=12",
    )
    stages = [_train("center", "finetune", "finetune_diseases.yaml", "eyes", *center, small=small)]
    for name in _compared():
        _, start, seed = name.split("-")
        begin = ("--model.start_from={family}/mae.safetensors",) if start == "mae" else ()
        stages.append(
            _train(
                name,
                "finetune",
                "finetune_diseases.yaml",
                "eyes",
                "--data.splits.train_share=0.2",
                *FEW,
                f"--seed_everything={seed}",
                f"--data.splits.seed={seed}",
                *begin,
                needs=("mae",) if start == "mae" else (),
                small=small,
            )
        )
    return stages


def _evaluation(model: str, store: str, out: str, *arguments: str) -> tuple[str, ...]:
    return (
        "evaluate",
        "--model={family}/" + model + ".safetensors",
        "--store={family}/" + store,
        f"--out={out}",
        *arguments,
    )


def _evaluations() -> list[Stage]:
    stages = []
    for model, (store, maker) in {
        **TESTED,
        **{name: ("unseen", name) for name in _compared()},
    }.items():
        more = ("--candidates=200",) if model == "coep" else ()
        center = ("--center_slice=3",) if model == "center" else ()
        stages.append(
            Stage(
                f"test-{model}",
                _evaluation(model, store, "{family}/tests/" + model, *more, *center),
                f"tests/{model}",
                needs=(maker, f"make-{store}"),
            )
        )
    return stages
