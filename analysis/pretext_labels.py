"""What an embedding still knows of how its image was changed: probe accuracy on the transformation, against chance.

Chen et al. 2020, Table 3: colour or grey, rotation, noise and Sobel filtering can be read from h and hardly from g(h).
Transforms images itself, or takes finished scores with a column chance (in the scores' unit; encoders being layers).
Pitfall: chance is the share of the commonest label, 80 % where one image in five is grey.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from virb.contracts.analysis import Analysis, NotApplicable, Option, comma_list
from virb.contracts.tables import Notes, Tables
from virb.errors import UsageError
from virb.features.activations import DEVICE, ENCODERS, IMAGES, load_encoders, open_images
from virb.scores.layout import matrix
from virb.stats.comparisons import above_chance

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy import ndarray
    from pandas import DataFrame
    from torch import Tensor

    from virb.images.sets import ImageSet
    from virb.networks.encoder import FrozenEncoder

# What is predicted, how many labels it has, and the share of images that each label gets (Table 3).
TASKS = {
    "color vs grayscale": (0.8, 0.2),
    "rotation": (0.25, 0.25, 0.25, 0.25),
    "original vs noise": (0.5, 0.5),
    "original vs Sobel": (0.5, 0.5),
}
#: What a task of finished scores is recognised by.
WORDS = ("rotat", "grayscale", "greyscale", "corrupt", "noise", "sobel")


def compute(
    scores: DataFrame | None,
    notes: Notes,
    *,
    encoders: tuple[str, ...],
    images: str,
    n: int,
    probe: str,
    tasks: tuple[str, ...],
    device: str,
) -> Tables:
    """A row an encoder and transformation."""
    import pandas as pd

    if scores is not None and "chance" in scores and not encoders:
        table, note = _from_scores(scores, tasks), "Scores as given."
    else:
        loaded = load_encoders(encoders, device)
        chosen = open_images(images, n=n)
        if len(chosen) < 40:
            raise UsageError(f"{images} has {len(chosen)} images; a probe and its test need at least 40.")
        rows = []
        for encoder in loaded:
            resized = _resized(chosen, encoder.preprocess.size)
            for task, shares in TASKS.items():
                rows.append((encoder.name, task, *_probe(encoder, resized, task, shares, probe)))
        table = pd.DataFrame(rows, columns=["encoder", "task", "score", "chance", "n"])
        how = "linear probe" if probe == "linear" else "probe with one hidden layer"
        note = f"{chosen.name}: {how}, {len(chosen) - len(chosen) // 2} images to train, {len(chosen) // 2} to test."
    found = above_chance(table["score"], table["chance"], table["n"])
    return Tables({"": pd.concat([table[["encoder", "task"]], found], axis=1)}, note=note)


def say(tables: Tables) -> list[str]:
    lines = []
    for name, part in tables[""].groupby("encoder", sort=False):
        said = ", ".join(f"{row.task} {row.score:.3f} (chance {row.chance:.2f})" for row in part.itertuples())
        lines.append(f"{name}: {said}; kappa {part['kappa'].mean():.2f} on average")
    return lines


def draw(tables: Tables) -> dict[str, Figure]:
    from virb.figures import plots

    table = tables[""]
    tasks = plots.choose(dict.fromkeys(table["task"]), most=20, what="transformations").names
    ranked = table.groupby("encoder")["kappa"].mean().sort_values(ascending=False, kind="stable").index
    chosen = plots.choose(
        ranked, most=max(2, min(15, 80 // len(tasks))), what="encoders", drawn_as=dict.fromkeys(table["encoder"])
    )
    names = chosen.names
    table = table[table["encoder"].isin(set(names)) & table["task"].isin(set(tasks))]
    shades = plots.palette(names)
    with plots.style():
        step = 0.8 / len(names)
        fig = plots.figure(plots.COLUMN, 0.42 + max(0.3, 0.12 * len(names)) * len(tasks))
        axes = fig.add_subplot()
        for k, name in enumerate(names):
            part = table[table["encoder"] == name]
            place = [tasks.index(task) + (k - (len(names) - 1) / 2) * step for task in part["task"]]
            axes.barh(place, part["kappa"], height=step * 0.9, color=shades[name], linewidth=0)
            axes.hlines(place, part["kappa_low"], part["kappa_high"], color=plots.BLACK, linewidth=0.7)
        axes.axvline(0, color=plots.BLACK, linewidth=0.6)
        chance = table.drop_duplicates("task").set_index("task")["chance"]
        axes.set_yticks(range(len(tasks)), [f"{task}\n(chance {chance[task]:.0%})" for task in tasks], fontsize=6)
        axes.set_ylim(len(tasks) - 0.4, -0.6)
        axes.set_xlim(min(0.0, float(table["kappa"].min()) - 0.03), 1.0)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.set_xlabel("accuracy beyond chance (kappa)")
        lines = " Lines: 95% Clopper-Pearson." if table["low"].notna().any() else ""
        full = f"{tables.facts['note']} Kappa: 0 is guessing, 1 no error.{lines} {chosen.note}"
        plots.titles(fig, "What is left of the transformation", full, handles=plots.colour_handles(shades))
    return {"": fig}


def _from_scores(scores: DataFrame, tasks: tuple[str, ...]) -> DataFrame:
    """Tidy rows of the transformations with score and chance as fractions; percent where a score or chance is above 1."""
    import numpy as np
    import pandas as pd

    known = [str(task) for task in scores["task"].unique()]
    unknown = [task for task in tasks if task not in known]
    if unknown:
        raise UsageError(f"tasks={','.join(tasks)}: {unknown[0]!r} is no task of the scores.")
    wanted = tasks or [task for task in known if any(word in task.lower() for word in WORDS)]
    part = scores[scores["task"].isin(wanted)].dropna(subset=["chance"])
    if part.empty:
        raise NotApplicable(
            "No task of the scores is named after a transformation of its images (rotation, grey, noise, Sobel); name those "
            "that are with --option tasks=A,B, or give encoders and images."
        )
    wide = matrix(part)
    table = wide.rename_axis("encoder").reset_index().melt("encoder", var_name="task", value_name="score").dropna()
    table["chance"] = table["task"].map(part.groupby("task")["chance"].first()).astype(float)
    tested = part.groupby(["encoder", "task"])["n_test"].first() if "n_test" in part else pd.Series(dtype=float)
    table["n"] = [float(tested.get((e, t), np.nan)) for e, t in zip(table["encoder"], table["task"], strict=True)]
    if float(table[["score", "chance"]].to_numpy().max()) > 1:
        table[["score", "chance"]] /= 100
    return table.reset_index(drop=True)


def _probe(
    encoder: FrozenEncoder, images: Tensor, task: str, shares: tuple[float, ...], kind: str
) -> tuple[float, float, int]:
    """Accuracy on the second half of the images, the share of their commonest label, and their number."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    n = len(images)
    # Labels in their shares exactly, in each half: the commonest label's share is then the same for both.
    half = n - n // 2
    target = np.concatenate([rng.permutation(_exact(shares, size)) for size in (half, n - half)])
    order = rng.permutation(n)
    x = np.concatenate(list(_embedded(encoder, images, task, target, order, rng)))
    # How strongly to regularise is chosen within the training half.
    model: Any = GridSearchCV(LogisticRegression(max_iter=1000), {"C": [1e-4, 1e-3, 1e-2, 1e-1, 1.0]}, cv=3)
    if kind == "mlp":
        model = MLPClassifier((256,), early_stopping=True, max_iter=200, random_state=0)
    fitted = make_pipeline(StandardScaler(), model).fit(x[:half], target[:half])
    accuracy = float(np.mean(fitted.predict(x[half:]) == target[half:]))
    return accuracy, float(np.bincount(target[half:]).max() / (n - half)), n - half


def _exact(shares: tuple[float, ...], n: int) -> ndarray:
    import numpy as np

    ends = np.rint(np.cumsum(shares) * n).astype(int)
    return np.searchsorted(ends, np.arange(n), side="right")


def _resized(images: ImageSet, size: int) -> Tensor:
    """All images as uint8 (N, 3, size, size): noise and edges are then of the size that the encoder sees."""
    import torch

    from virb.training import image_ops

    out = torch.empty((len(images), 3, size, size), dtype=torch.uint8)
    for k in range(len(images)):
        x = image_ops.to_float(torch.from_numpy(images.image(k).copy())[None])
        box = torch.tensor([[0.0, 0.0, float(x.shape[2]), float(x.shape[3])]])
        out[k] = (image_ops.resized_crop(x, box, (size, size))[0].clamp(0, 1) * 255).round().to(torch.uint8)
    return out


def _embedded(encoder: FrozenEncoder, images: Tensor, task: str, target: ndarray, order: ndarray, rng: Any) -> Any:
    import numpy as np
    import torch

    from virb.training import image_ops

    for start in range(0, len(order), 64):
        x = image_ops.to_float(images[torch.from_numpy(order[start : start + 64])])
        label = torch.from_numpy(target[start : start + 64])
        if task == "rotation":
            x = image_ops.rotate90(x, label)
        elif task == "color vs grayscale":
            x = image_ops.grayscale(x, label.bool())
        elif task == "original vs noise":
            noise = 0.1 * torch.from_numpy(rng.standard_normal(x.shape).astype(np.float32))
            x = image_ops.add_noise(x, noise * label[:, None, None, None])
        else:
            x = image_ops.sobel(x, label.bool())
        changed = (x.clamp(0, 1) * 255).round().to(torch.uint8)
        yield encoder.embed(encoder.prepare(changed)).cpu().numpy()


ANALYSIS = Analysis(
    name="pretext-labels",
    summary="What an embedding still knows of how its image was transformed, against chance",
    source="Chen et al. 2020, Table 3",
    compute=compute,
    draw=draw,
    say=say,
    needs_scores=False,
    options=(
        ENCODERS,
        IMAGES,
        Option("n", 1000, "Images drawn at random (fixed seed) from larger sets; half train the probe.", type=int),
        Option(
            "probe", "linear", "A linear probe, or one with a hidden layer as in the paper.", choices=("linear", "mlp")
        ),
        Option(
            "tasks",
            (),
            "Of finished scores: the tasks that are transformations; by name if not given.",
            type=comma_list,
        ),
        DEVICE,
    ),
)
