"""Each kind of part is added by one file in a folder outside the repository, and a job runs with it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from virb import registry
from virb.cli import main
from virb.records.predictions import read_arrays, sampling_sd

PARTS = {
    "mlp": """
from virb.contracts.head import Head
from virb.contracts.parts import Option

def build(facts, n_out, *, hidden):
    from torch import nn
    return nn.Sequential(nn.Linear(facts.dim, hidden), nn.ReLU(), nn.Linear(hidden, n_out))

HEAD = Head("mlp", "two layers", reads="embedding", build=build, options=(Option("hidden", 16, low=1),))
""",
    "pooled": """
from torch import nn
from virb.contracts.head import Head

class Pooled(nn.Module):
    def __init__(self, dim, n_out):
        super().__init__()
        self.score, self.out = nn.Linear(dim, 1), nn.Linear(dim, n_out)
    def forward(self, tokens):
        return self.out((self.score(tokens).softmax(1) * tokens).sum(1))

HEAD = Head("pooled", "attention over tokens", reads="tokens", build=lambda facts, n_out: Pooled(facts.dim, n_out))
""",
    "smoothed": """
import torch.nn.functional as F
from virb.contracts.loss import Loss

def total(outputs, targets, ignore_index=None):
    return F.cross_entropy(outputs, targets, label_smoothing=0.1, reduction="sum"), len(targets)

LOSS = Loss("smoothed", "cross-entropy with label smoothing", takes={"class"}, total=total)
""",
    "error_rate": """
import numpy as np
from virb.contracts.metric import Metric, State
from virb.metrics.resampling import mean_of

class ErrorRate(State):
    name = "error_rate"
    def __init__(self):
        self.wrong = []
    def update(self, prediction, target):
        self.wrong += [bool(w) for w in np.asarray(prediction).argmax(1) != np.asarray(target)]
    def compute(self):
        self.check_not_empty()
        return {"error_rate": sum(self.wrong) / len(self.wrong)}
    def per_example(self):
        return {"wrong": np.array(self.wrong)}
    def __len__(self):
        return len(self.wrong)
    def extend(self, other):
        self.wrong += other.wrong

METRIC = Metric("error_rate", "share of wrong classes", takes={"class"}, unit="fraction", better="lower",
                state=lambda facts: ErrorRate(), resampling=mean_of("wrong"))
""",
    "nearest_mean": """
import numpy as np
from virb.contracts.probe import Predictor, Probe

def fit(problem, setups, device, report):
    (setup,) = setups
    x = setup.source.features[problem.frames[:, 0]]
    means = np.stack([x[problem.targets == k].mean(0) for k in range(problem.n_out)])
    def outputs(source, frames, report):
        test = source.features[frames[:, 0]]
        return -((test[:, None] - means) ** 2).sum(2)
    return [Predictor({"means": len(means)}, outputs)]

PROBE = Probe("nearest_mean", "the class whose mean is nearest", takes={"class"}, fit=fit, is_random=False)
""",
    "stripes": """
import numpy as np
from PIL import Image
from virb.contracts.examples import Examples
from virb.contracts.parts import Option
from virb.contracts.reader import Reader
from virb.images.sets import FileImages

def read(context, split, *, suffix):
    paths = sorted(context.place("stripes").glob(f"{split}-*{suffix}"))
    targets = np.array([int(path.stem.split("-")[1]) for path in paths])
    return Examples(FileImages("stripes", context.place("stripes"), paths), np.arange(len(paths))[:, None], targets, [p.name for p in paths])

READER = Reader("stripes", "SPLIT-CLASS-NUMBER.png", read, options=(Option("suffix", ".png"),))
""",
    "day": """
from virb.contracts.column import Column

COLUMN = Column("n_examples", "train and test together", of=lambda record: record["n_train"] + record["n_test"])
""",
    "wide_letters": """
from virb.contracts.style import Style

STYLE = Style("wide-letters", "another font behind the first", fonts=("DejaVu Serif",), settings={"font.size": 9})
""",
    "here_too": """
from virb.contracts.executor import Executor

EXECUTOR = Executor("here-too", "this process, announced", is_here=True, check=lambda place: None,
                    run=lambda work, place, progress: (progress.note(f"here too, at {place}"), work.here())[1])
""",
    "their_log": """
from virb.contracts.importer import Importer

def rows(path):
    for line in path.read_text().splitlines():
        encoder, task, score = line.split(" | ")
        yield {"encoder": encoder, "task": task, "score": float(score)}

IMPORTER = Importer("their-log", "lines of ENCODER | TASK | SCORE", reads="file", rows=rows)
""",
    "striped": """
from virb.contracts.task import Category, Protocol, Task
from virb.images.readers import reads

TASK = Task(name="striped", summary="stripes", category=Category.SEMANTIC_IMAGE, head="mlp", loss="smoothed",
            metric="error_rate", data=reads("stripes", suffix=".png"), classes=("dark", "light"),
            protocol=Protocol(epochs=20, lr=1e-2), options={"hidden": 8})
""",
    "striped_tokens": """
from virb.contracts.task import Category, Protocol, Task
from virb.images.readers import reads

TASK = Task(name="striped-tokens", summary="stripes", category=Category.SEMANTIC_IMAGE, head="pooled", loss="smoothed",
            metric="top1", data=reads("stripes"), classes=("dark", "light"), protocol=Protocol(epochs=2))
""",
}
#: A backbone family, and a method with an augmentation of its own.
LEARNT = {
    "two_stages": """
from torch import nn
from virb.networks.base import Backbone
from virb.networks.families import Family

class TwoStages(Backbone):
    def __init__(self, width):
        super().__init__()
        self.channels, self.strides, self.dim = (width, 2 * width), (2, 4), 2 * width
        self.stages = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in ((3, width), (width, 2 * width)))
    def features(self, x):
        maps = []
        for stage in self.stages:
            x = stage(x).relu()
            maps.append(x)
        return x.mean((2, 3)), maps

BACKBONE = Family("two_stages", {"width": 8}, lambda options, is_initialised: TwoStages(**options))
""",
    "negatives": """
import torch
import torch.nn.functional as F
from torch import nn
from virb.contracts.method import Method, Training
from virb.pretraining.learner import Learner, Outcome
from virb.training import augment

def negative(images, generator):
    is_turned = torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5
    negative.calls += 1
    return torch.where(is_turned, 1 - images, images)

negative.calls = 0

class Brightness(Learner):
    def __init__(self, encoder, options, setup):
        super().__init__(encoder, options, setup)
        self.guess = nn.Linear(encoder.dim, 1)
        self.view = augment.View((negative,))
    def views(self, images, generator):
        return [self.view(images, generator)]
    def forward(self, views, batch, progress):
        return Outcome(F.mse_loss(self.guess(self.encoder(views[0]))[:, 0], views[0].mean((1, 2, 3))))

METHOD = Method(name="negatives", role="self-supervised", source="nowhere", learner=Brightness,
                training=Training("sgd", lr=0.01, batch_size=4, epochs=1))
""",
    "noise": """
import hashlib
import numpy as np
from virb.contracts.dataset import DataSet
from virb.pretraining.data import PretrainingData
from virb.pretraining.pixels import ArrayPixels

def load(progress):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
    return PretrainingData("noise", hashlib.sha256(pixels).hexdigest(), ArrayPixels(pixels), np.arange(8), 16)

DATASET = DataSet("noise", "eight images of noise", load, n_images=8)
""",
}
LAYOUT = """
from virb.contracts.layout import Layout, LayoutReport

def convert(state, facts):
    own = {name.replace("unit", "layer"): value for name, value in state.items()}
    return ("resnet18", {"width": 0.125}), own, LayoutReport(preprocess={"size": 32})

LAYOUT = Layout(name="their-net", source="nowhere, net.py", title="their files", anchors=("unit1.0.conv1.weight",),
                recognise=lambda names, shapes: {} if "unit4.1.bn2.weight" in names else None, convert=convert)
"""


@pytest.fixture
def place(content_folder: Path, tmp_path: Path) -> list[str]:
    for stem, text in PARTS.items():
        name = {"day": "n_examples"}.get(stem, stem)
        (content_folder / f"{name}.py").write_text(f'"""Part {stem}."""\n{text}')
    images = tmp_path / "stripes"
    images.mkdir()
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for k in range(12):
            pixels = np.clip(rng.normal(60 if k % 2 == 0 else 190, 20, (16, 16, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(images / f"{split}-{k % 2}-{k}.png")
    return ["--include", str(content_folder), "--data", f"stripes={images}", "--out", str(tmp_path / "out")]


def records(tmp_path: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted((tmp_path / "out").rglob("*-seed0.json"))]


def test_head_loss_metric_reader_executor_and_column_make_a_job(place, tmp_path, capsys, monkeypatch):
    run = ["evaluate", "pixels:4:size=16", *place]
    assert main([*run, "--tasks", "striped", "--executor", "here-too:the-desk"]) == 0
    printed = capsys.readouterr()
    assert "here too, at the-desk" in printed.err
    assert "lower is better for error_rate" in printed.out
    (record,) = records(tmp_path)
    assert record["task"]["head"] == "mlp"
    assert record["task"]["better"] == "lower"
    assert record["score"] == record["metrics"]["error_rate"] == 0.0
    parts = record["fingerprint"]["task"]
    assert all(len(parts[kind]["source"]) == 64 for kind in ("head", "loss", "metric")), "known by their content"
    assert main(["results", "show", "--results", str(tmp_path / "out"), *place[:2], "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["n_examples"] == 24
    (predictions,) = (tmp_path / "out").rglob("*-seed0.npz")
    registry.include(place[1])
    assert sampling_sd(read_arrays(predictions), "error_rate") == 0, (
        "its error over examples is the metric's own to say"
    )
    assert main(["results", "check", "--results", str(tmp_path / "out"), *place[:2]]) == 0
    capsys.readouterr()
    assert main([*run, "--tasks", "striped"]) == 0
    assert "0 jobs run" in capsys.readouterr().out
    edited = Path(place[1]) / "smoothed.py"
    edited.write_text(edited.read_text().replace("0.1", "0.2"))
    for name in [name for name in sys.modules if name.startswith("virb_included_")]:
        monkeypatch.delitem(sys.modules, name)  # as in another process, which reads the files anew
    assert main([*run, "--tasks", "striped"]) == 0
    assert "1 jobs run" in capsys.readouterr().out


def test_a_probe_of_ones_own_scores(place, tmp_path):
    assert main(["evaluate", "pixels:4:size=16", *place, "--tasks", "striped", "--probe", "nearest_mean"]) == 0
    (record,) = records(tmp_path)
    assert record["probe"] == "nearest_mean"
    assert record["score"] == 0.0
    assert len(record["fingerprint"]["probe"]["source"]) == 64


def test_a_head_on_tokens_trains_on_the_coarsest_map(place, tmp_path):
    assert main(["evaluate", "random:resnet18:width=0.125,size=64", *place, "--tasks", "striped-tokens"]) == 0
    (record,) = records(tmp_path)
    assert record["task"]["head"] == "pooled"


def test_importer_and_font_draw_a_figure(place, tmp_path, capsys):
    from virb.figures import fonts, look

    log = tmp_path / "log.txt"
    log.write_text("".join(f"e{e} | t{t} | {0.1 * e + 0.01 * t * (e % 3)}\n" for e in range(4) for t in range(4)))
    fonts.families.cache_clear()
    look._found.cache_clear()
    argv = ["analyze", "correlation", "--results", f"their-log:{log}", *place[:2], "--out", str(tmp_path / "figures")]
    try:
        assert main(argv) == 0
        assert fonts.families()[1] == "DejaVu Serif"
        assert look.now().settings == {"font.size": 9}
    finally:
        fonts.families.cache_clear()
        look._found.cache_clear()
    assert list((tmp_path / "figures").glob("correlation*.png"))


def test_a_layout_of_ones_own_is_recognised(place, content_folder, tmp_path):
    import virb

    (content_folder / "their_net.py").write_text(LAYOUT)
    registry.include(content_folder)
    encoder = virb.load_encoder("random:resnet18:width=0.125,size=32")
    state = {name.replace("layer", "unit"): value for name, value in encoder.state_dict().items()}
    torch.save({"model": state}, tmp_path / "theirs.pth")
    loaded = virb.load_encoder(str(tmp_path / "theirs.pth"))
    x = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(loaded.embed(x), encoder.embed(x))
    assert main(["evaluate", str(tmp_path / "theirs.pth"), *place, "--tasks", "striped"]) == 0
    (record,) = records(tmp_path)
    assert record["encoder"]["arch"].startswith("resnet18")


def test_backbone_augmentation_method_and_data_set_make_an_encoder(place, content_folder, tmp_path):
    for name, text in LEARNT.items():
        (content_folder / f"{name}.py").write_text(f'"""Part {name}."""\n{text}')
    encoder = tmp_path / "learnt.pt"
    run = [
        "pretrain",
        "negatives",
        "--data",
        "noise",
        "--arch",
        "two_stages",
        "--arch-option",
        "width=4",
        "--out",
        str(encoder),
    ]
    assert main([*run, *place[:2]]) == 0
    assert registry.load("methods", "negatives").learner.__init__.__globals__["negative"].calls == 2, "a batch each"
    assert registry.load("datasets", "noise").n_images == 8
    assert main(["evaluate", str(encoder), *place, "--tasks", "striped"]) == 0
    (record,) = records(tmp_path)
    assert record["encoder"]["arch"].startswith("two_stages")
    assert record["encoder"]["meta"]["method"] == "negatives"
