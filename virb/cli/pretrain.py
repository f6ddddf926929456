"""virb pretrain: make an encoder, or all the encoders of a recipe."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from virb.pretraining.outputs import Made

HELP = "pretrain an encoder with one of the methods, or all encoders of a recipe"
EPILOG = """\
examples:
  virb pretrain simclr --data world-objects --arch-option width=0.25 --epochs 20 --out mine.pt
  virb pretrain simclr --data photos/ --arch resnet50 --epochs 100 --batch-size 512 --precision bf16 --out mine.pt
  virb pretrain simclr --data world --budget 200000 --option temperature=0.2 --out mine.pt --resume
  virb pretrain moco-v2 --data photos/ --subset log(10,500,8000) --out mine.pt
  virb pretrain simclr --options                  the method's options, and its published training
  virb pretrain --recipe reference --out encoders/ --jobs 2         a recipe that comes with virb: photos, reference, study
  virb pretrain --recipe mine.yaml --out encoders/
  torchrun --nproc-per-node 8 -m virb pretrain moco-v3 --data photos/ --arch resnet50 --batch-size 1024 --out mine.pt

A run that was killed goes on where it was with the same command and --resume. Every value that is not given is the
method's published one, the learning rate scaled to the batch size by the published rule.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("method", nargs="?", help="a name that `virb list methods` shows")
    parser.add_argument(
        "--recipe",
        metavar="NAME|FILE",
        help="make the encoders of a recipe: photos, reference, study, or a file; --out is a folder then",
    )
    parser.add_argument(
        "--only", metavar="NAME", action="append", default=[], help="of a recipe, this encoder (may be repeated)"
    )
    parser.add_argument(
        "--jobs", type=int, metavar="N", default=1, help="of a recipe, N encoders at a time (default 1)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="the encoder file (*.pt) to write")
    parser.add_argument(
        "--options", action="store_true", help="show the method's options and published training, and stop"
    )

    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        metavar="NAME|DIR",
        help="world-objects, world-rooms, world, torchvision:NAME, a folder, a list (*.txt), A:3000+B:0.25",
    )
    data.add_argument("--data-root", metavar="DIR", help="where data sets lie (default $VIRB_DATA)")
    data.add_argument(
        "--subset",
        metavar="RULE",
        help="half, quarter, each(N), lin, log, nested(N), classes(K,N), or a manifest (*.json)",
    )
    data.add_argument("--subset-seed", type=int, metavar="N", help="draws the subset and pooled parts (default 0)")
    data.add_argument("--class-order", choices=("seeded", "sorted"), help="which class is the n-th of lin and log")
    data.add_argument("--corrupt", metavar="KIND", help="salt-and-pepper, jpeg, resize, downsample2 or downsample4")
    data.add_argument("--limit", type=int, metavar="N", help="use N images, drawn by the seed")
    data.add_argument(
        "--size", type=int, metavar="PX", help="side of the encoder's images (default: the world's 64, or 224)"
    )
    data.add_argument("--view-size", type=int, metavar="PX", help="side of the training views (default: --size)")
    data.add_argument(
        "--resolution", type=int, metavar="PX", help="reduce images to this short side (default: four times the views)"
    )
    data.add_argument("--skip-unreadable", action="store_true", help="leave out files that are no readable image")

    network = parser.add_argument_group("network and method")
    network.add_argument("--arch", help="resnet18 (default), resnet34, ..., vit_small_patch16, timm:NAME")
    network.add_argument("--arch-option", metavar="K=V", action="append", default=[], help="as width=0.25, stem=cifar")
    network.add_argument("--option", metavar="K=V", action="append", default=[], help="an option of the method")

    training = parser.add_argument_group("training")
    length = training.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=float, metavar="E", help="passes over the data")
    length.add_argument("--budget", type=int, metavar="C", help="images to see in all, whatever the size of the data")
    training.add_argument(
        "--batch-size", type=int, metavar="B", help="images an update, of all processes together (default 256)"
    )
    training.add_argument(
        "--accumulate", type=int, metavar="N", help="encode every batch in N parts: less memory, the same loss"
    )
    training.add_argument("--optimizer", choices=("sgd", "lars", "larc", "adamw"))
    training.add_argument("--lr", type=float, help="peak learning rate at this batch size")
    training.add_argument("--final-lr", type=float, metavar="LR", help="where the cosine ends")
    training.add_argument(
        "--warmup-epochs", type=float, metavar="E", help="(default: published, or its share of a shorter run)"
    )
    training.add_argument("--warmup-lr", type=float, metavar="LR", help="where the warm-up begins")
    training.add_argument("--weight-decay", type=float, metavar="W")
    training.add_argument("--final-weight-decay", type=float, metavar="W", help="where it goes, on a cosine")
    training.add_argument("--momentum", type=float, metavar="M", help="of SGD, LARS and LARC; AdamW's beta 1")
    training.add_argument("--schedule", choices=("cosine", "step", "constant"))
    training.add_argument("--milestones", metavar="F,F", help="of the schedule step, as fractions of the run: 0.6,0.8")
    training.add_argument("--seed", type=int)
    training.add_argument("--device", help="cpu, cuda, cuda:1 (default: a GPU if there is one)")
    training.add_argument("--precision", choices=("fp32", "tf32", "bf16", "fp16"))
    training.add_argument("--compile", action="store_true", help="compile the encoder (torch.compile)")
    training.add_argument(
        "--recompute",
        action="store_true",
        help="compute blocks a second time for their gradient: less memory, the same weights",
    )
    training.add_argument("--ema", type=float, metavar="D", help="keep a moving average of the weights, as 0.999")

    run = parser.add_argument_group("the run")
    run.add_argument(
        "--resume", action="store_true", help="go on with an unfinished run; a finished one is left as it is"
    )
    run.add_argument("--force", action="store_true", help="start again, whatever is there")
    run.add_argument(
        "--eval",
        metavar="TASK,...",
        help="log the scores on end tasks while it trains; own: nearest neighbours among its own labelled images",
    )
    run.add_argument("--eval-epochs", type=float, metavar="E", help="every E epochs, and at the end (default 1)")
    run.add_argument("--eval-probe", metavar="NAME", help="by this probe (default knn)")
    run.add_argument(
        "--snapshots", metavar="E,E", help="also write the encoder as it is after these epochs: OUT-epoch10.pt"
    )
    run.add_argument("--checkpoint-steps", type=int, metavar="N", help="also write the state every N updates")
    run.add_argument("--quiet", action="store_true", help="no progress")


# What becomes a field of Settings under the same name; the rest is read by hand.
_FIELDS = (
    "data", "data_root", "subset", "subset_seed", "class_order", "corrupt", "limit", "size", "view_size", "resolution", "arch", "epochs", "budget",
    "batch_size", "accumulate", "optimizer", "lr", "final_lr", "warmup_epochs", "warmup_lr", "weight_decay", "final_weight_decay", "momentum", "schedule", "milestones", "seed", "device",
    "precision", "ema", "eval", "eval_epochs", "eval_probe", "snapshots", "checkpoint_steps",
)  # fmt: skip


def run(args: argparse.Namespace) -> int:
    from virb.errors import UsageError

    if args.jobs < 1:
        raise UsageError(f"--jobs must be at least 1; found {args.jobs}.")
    given = {name: getattr(args, name) for name in _FIELDS if getattr(args, name) is not None}
    if args.recipe:
        extra = [f"--{name.replace('_', '-')}" for name in given] + [
            flag
            for flag, value in (
                ("a method", args.method),
                ("--option", args.option),
                ("--arch-option", args.arch_option),
                ("--skip-unreadable", args.skip_unreadable),
                ("--options", args.options),
                ("--compile", args.compile),
                ("--recompute", args.recompute),
            )
            if value
        ]
        if extra:
            raise UsageError(
                f"A recipe says everything itself; {extra[0]} cannot be given beside --recipe. Change the file."
            )
        return _with_others(lambda: _recipe(args))
    if args.only or args.jobs != 1:
        raise UsageError("--only and --jobs choose among a recipe's encoders; pass --recipe FILE with them.")
    if not args.method:
        raise UsageError("Name a method (see `virb list methods`), or a recipe with --recipe FILE.")
    if args.options:
        return _show(args.method)
    if args.out is None:
        raise UsageError("Where should the encoder go? Pass --out FILE.pt.")

    return _with_others(lambda: _one(args, given))


def _with_others(do: Callable[[], int]) -> int:
    """Return ``do()``, run together with the other processes under torchrun; what all of them find, the first one tells."""
    from virb.errors import VirbError
    from virb.training import distributed

    _prepare()
    with distributed.processes():
        try:
            status = do()
        except VirbError as error:
            if distributed.rank() == 0 or not distributed.is_shared(error):
                raise
            status = 2
        sys.stdout.flush()
        if status and distributed.rank() > 0:
            distributed.wait_for_the_end()
        return status


def _one(args: argparse.Namespace, given: dict[str, Any]) -> int:
    from virb.evaluation.during import look
    from virb.pretraining.runs import pretrain
    from virb.pretraining.settings import Settings
    from virb.training import distributed

    settings = distributed.together(
        lambda: Settings(
            method=args.method,
            out=args.out,
            arch_options=_once(args.arch_option),
            options=_once(args.option),
            skip_unreadable=args.skip_unreadable,
            compile=args.compile,
            recompute=args.recompute,
            **given,
        )
    )
    how = distributed.together(lambda: look(settings))
    made = pretrain(settings, resume=args.resume, force=args.force, quiet=args.quiet, look=how)
    if distributed.rank() == 0:
        print(_line(made))
    return 0


def _prepare() -> None:
    from virb.system.allocator import keep_freed_memory

    keep_freed_memory()


def _once(texts: list[str]) -> dict[str, str]:
    from virb.contracts.method import split_option
    from virb.errors import UsageError

    pairs = [split_option(text) for text in texts]
    for name in {name for name, _ in pairs}:
        if sum(other == name for other, _ in pairs) > 1:
            raise UsageError(f"Option {name!r} is given twice.")
    return dict(pairs)


def _line(made: Made) -> str:
    meta = made.meta
    if not made.is_new:
        return f"{made.path}: there already"
    if not meta["images_seen"]:
        return f"{made.path}: written, nothing trained"
    asked = meta["steps"] / max(1, meta["dataset_size"] // meta["batch_size"])  # epochs of whole batches
    short = ""
    if meta["epochs"] < 0.98 * asked:
        short = f" (batches are whole: {meta['steps']} updates of {meta['batch_size']} fit into {asked:g} epochs)"
    return (
        f"{made.path}: {meta['method']} on {meta['dataset']}, {meta['epochs']:g} epochs of {meta['dataset_size']} "
        f"images{short}, {meta['seconds']:.0f} s"
    )


def _recipe(args: argparse.Namespace) -> int:
    from virb.errors import UsageError
    from virb.evaluation.during import look
    from virb.pretraining.recipes import run_recipe, run_recipe_in_parallel
    from virb.training import distributed

    out, only = args.out or Path("encoders"), tuple(args.only)
    if args.jobs > 1 and distributed.world_size() > 1:
        raise distributed.shared(
            UsageError("Under torchrun all processes train one encoder at a time; leave out --jobs.")
        )
    if args.jobs > 1:
        there, statuses = run_recipe_in_parallel(
            args.recipe, out, jobs=args.jobs, only=only, force=args.force, quiet=args.quiet
        )
        for one in there:
            print(_line(one))
        return int(any(statuses.values()))
    made, failed = run_recipe(args.recipe, out, only=only, force=args.force, quiet=args.quiet, look=look)
    if distributed.rank() == 0:
        for one in made:
            print(_line(one))
        for name, reason in failed.items():
            print(f"{name} was not made: {reason}", file=sys.stderr)
    return 1 if failed else 0


def _show(name: str) -> int:
    from virb import registry
    from virb.contracts.method import Method

    method: Method = registry.load("methods", name)
    print(f"{method.name}: {method.source}")
    of_kinds = [("", method.training)] if method.training else []
    for kind, training in [*of_kinds, *((f" for a {k}", v.training) for k, v in method.variants.items())]:
        print(
            f"training{kind}: {training.optimizer}, lr {training.lr:g} at batch {training.batch_size} ({training.lr_rule}), "
            f"weight decay {training.weight_decay:g}, {training.warmup_epochs:g} epochs of warm-up, "
            f"{training.schedule}, {training.epochs} epochs"
        )
    for kind, variant in method.variants.items():
        print(f"  for a {kind}: {', '.join(f'{k}={v}' for k, v in variant.options.items())}")
    for option in method.options:
        choices = f" ({', '.join(option.choices)})" if option.choices else ""
        print(f"  {option.name}={option.default}  {option.help}{choices}")
    return 0
