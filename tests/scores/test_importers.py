"""Importers read each source's true layout: which score counts, which way is better, what may stand side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from virb import registry
from virb.cli import main
from virb.contracts.importer import Importer
from virb.errors import RegistryError, ScoresError, UsageError
from virb.records.compare import mixed
from virb.scores.layout import matrix
from virb.scores.read import read_scores


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def mteb_cell(
    task: str, values: list[float], *, split: str = "test", revision: str = "aaaa1111", **other: Any
) -> dict[str, Any]:
    mean = sum(values) / len(values)
    entry = {"hf_subset": "default", "languages": ["eng-Latn"], "accuracy": mean, "f1": mean - 0.02, "ap": float("nan")}
    entry |= {"main_score": mean, "scores_per_experiment": [{"accuracy": v, "f1": v - 0.02} for v in values]}
    scores = {split: [{**entry, **other}]}
    return {
        "task_name": task,
        "dataset_revision": revision,
        "mteb_version": "1.14.15",
        "kg_co2_emissions": None,
        "scores": scores,
    }


def test_importers_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "importers", "--json"]) == 0
    names = {row["name"]: row["summary"] for row in json.loads(capsys.readouterr().out)}
    assert {"mteb", "timm", "visbench", "clip-benchmark", "lm-eval"} <= set(names)
    assert all(names.values())
    with pytest.raises(RegistryError, match="reads"):
        Importer("x", "", reads="url", rows=lambda path: [])


def test_mteb(tmp_path: Path) -> None:
    model = tmp_path / "results" / "acme__tiny-vit" / "bbbb2222"
    write(model / "DTD.json", mteb_cell("DTD", [0.61, 0.63]))
    write(model / "Food.json", mteb_cell("Food", [0.4], split="validation", scores_per_experiment=None))
    meta = {
        "name": "acme/tiny-vit",
        "n_parameters": 86_000_000,
        "embed_dim": 768,
        "release_date": None,
        "license": "mit",
    }
    write(model / "model_meta.json", meta)
    write(model / "experiments" / "layer{}" / "DTD.json", mteb_cell("DTD", [0.9, 0.9]))
    for folder in (tmp_path, tmp_path / "results", model.parent, model):
        frame = read_scores(f"mteb:{folder}")
        assert set(frame["encoder"]) == {"acme/tiny-vit"}
        dtd = frame[frame["task"] == "DTD"]
        assert dtd[["seed", "score"]].to_numpy().tolist() == [[0, 0.61], [1, 0.63]]
        assert set(frame["metric"]) == {"accuracy"}
        assert set(frame["unit"]) == {"fraction"}
    assert frame[["params_m", "embed_dim", "licence", "organisation", "revision"]].iloc[0].tolist() == [
        86.0,
        768,
        "mit",
        "acme",
        "bbbb2222",
    ]
    assert matrix(frame).loc["acme/tiny-vit", "Food"] == 0.4
    other = read_scores(f"mteb:{tmp_path}", metrics=["DTD=f1"])
    assert other.groupby("task")["metric"].first().to_dict() == {"DTD": "f1", "Food": "accuracy"}
    with pytest.raises(UsageError, match="there are accuracy and f1"):
        read_scores(f"mteb:{tmp_path}", metrics=["top9"])
    with pytest.raises(UsageError, match="no task"):
        read_scores(f"mteb:{tmp_path}", metrics=["MNIST=f1"])


def test_mteb_revisions_of_models_and_data_and_main_scores_that_differ(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        cell = mteb_cell("VOC2007", [0.3], scores_per_experiment=[{"accuracy": 0.3, "lrap": 0.5}], lrap=0.5)
        cell["scores"]["test"][0]["main_score"] = 0.3 if name == "c" else 0.5
        cell["dataset_revision"] = "dddd" if name == "b" else "cccc"
        write(tmp_path / f"org__{name}" / "1" / "VOC2007.json", cell)
    write(tmp_path / "org__a" / "external" / "VOC2007.json", mteb_cell("VOC2007", [0.2]))
    frame = read_scores(f"mteb:{tmp_path}")
    assert frame.set_index("encoder")["score"].to_dict() == {"org/a@1": 0.5, "org/b": 0.5, "org/c": 0.5, "org/d": 0.5}
    notes = " ".join(frame.attrs["notes"])
    assert "org/a was scored in 2 revisions" in notes
    assert "lrap is taken" in notes
    assert "org/a@external on VOC2007 (no lrap)" in notes
    assert "2 revisions of the data" in mixed(frame)[0]


def test_subsets_are_tasks_of_their_own(tmp_path: Path) -> None:
    cell = mteb_cell("Many", [0.5])
    first = cell["scores"]["test"][0]
    cell["scores"]["test"] = [{**first, "hf_subset": "en"}, {**first, "hf_subset": "de"}]
    write(tmp_path / "o__m" / "1" / "Many.json", cell)
    assert set(read_scores(f"mteb:{tmp_path}")["task"]) == {"Many [en]", "Many [de]"}


TIMM = """model,img_size,top1,top1_err,top5,top5_err,param_count,crop_pct,interpolation
tinynet_x.demo_in1k,224,61.250,38.750,83.500,16.500,4.10,0.875,bicubic
tinynet_x.demo_in1k,288,62.000,38.000,84.000,16.000,4.10,0.950,bicubic
hugenet_y.demo_in22k_ft_in1k,448,85.500,14.500,97.750,2.250,"1,204.50",1.000,bicubic
"""


def test_timm(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    write(folder / "results-imagenet.csv", TIMM)
    header, *lines = TIMM.splitlines()
    extra = "\n".join([header + ",top1_diff,top5_diff,rank_diff", *[line + ",-1.0,,+2" for line in lines[:2]]])
    write(folder / "results-imagenet-a.csv", extra + "\n")
    write(folder / "results-imagenet-a-clean.csv", TIMM)
    write(folder / "benchmark-infer.csv", "model,infer_samples_per_sec\ntinynet_x,10\n")
    frame = read_scores(f"timm:{tmp_path}")
    wide = matrix(frame)
    assert list(wide.columns) == ["imagenet-a", "imagenet"]
    assert wide["imagenet"].to_dict() == {
        "tinynet_x.demo_in1k@224": 0.6125,
        "tinynet_x.demo_in1k@288": 0.62,
        "hugenet_y.demo_in22k_ft_in1k@448": 0.855,
    }
    assert frame.drop_duplicates("encoder")["params_m"].tolist() == [4.1, 4.1, 1204.5]
    assert "results-imagenet-a-clean.csv" in frame.attrs["notes"][0]
    alone = read_scores(f"timm:{folder / 'results-imagenet-a-clean.csv'}", metrics=["top5"])
    assert alone["score"].tolist() == [0.835, 0.84, 0.9775]
    assert alone["task"].unique().tolist() == ["imagenet-a-clean"]
    with pytest.raises(ScoresError, match="no column img_size"):
        read_scores(f"timm:{write(tmp_path / 'x.csv', 'model,a' + chr(10) + 'b,1' + chr(10))}")


def visbench(backbone: str, task: str, metrics: dict[str, float], **other: Any) -> dict[str, Any]:
    record = {
        "backbone": backbone,
        "backbone_key": f"timm/{backbone}/demo/224",
        "task": task,
        "level": "mid_level",
        "dataset": "test",
    }
    record |= {
        "split": "test",
        "dataset_size": 50,
        "dataset_fingerprint": "00ff",
        "seed": 0,
        "finetune": None,
        "schema_version": 7,
    }
    return {**record, "pooling_requested": "mean", "task_params": {"protocol": "probe3d"}, "metrics": metrics, **other}


def test_visbench(tmp_path: Path) -> None:
    records = [
        visbench("tiny_vit", "surface_normal", {"mean": 33.0, "median": 28.0, "d1": 0.2}),
        visbench("tiny_vit", "depth", {"d1": 0.8, "abs_rel": 0.2, "rmse": 0.7}),
        visbench("tiny_vit", "keypoints2d", {"keypoint_correlation": 0.4, "mae": 0.1}),
        visbench("tiny_vit", "correspondence", {"recall@5px": 0.6, "num_matches": 900, "ceiling_recall@5px": 0.9}),
        visbench("tiny_vit", "puzzling", {"wobble": 0.6}),
        visbench("other", "depth", {"d1": 0.7, "abs_rel": 0.3, "rmse": 0.9}, dataset_fingerprint="11aa"),
        visbench("twice", "surface_normal", {"mean": 30.0}, backbone_key="a"),
        visbench("twice", "surface_normal", {"mean": 31.0}, backbone_key="b"),
    ]
    path = write(tmp_path / "visbench.jsonl", "\n".join(json.dumps(record) for record in records) + "\n\n")
    frame = read_scores(f"visbench:{path}")
    wide = matrix(frame)
    assert wide.loc["tiny_vit", "surface_normal"] == -33.0
    assert wide.loc["tiny_vit", "keypoints2d"] == 0.4
    assert wide.loc["tiny_vit", "correspondence"] == 0.6
    assert {"depth [data 00ff]", "depth [data 11aa]"} <= set(wide.columns)
    assert wide["surface_normal"].dropna().to_dict() == {"tiny_vit": -33.0, "a": -30.0, "b": -31.0}
    units = frame.drop_duplicates("task").set_index("task")["unit"]
    assert units["surface_normal"] == "degree"
    assert frame.loc[frame["task"] == "surface_normal", "metric"].unique().tolist() == ["mean"]
    notes = " ".join(frame.attrs["notes"])
    assert "lower is better on surface_normal" in notes
    assert "none of wobble" in notes
    assert "scores on depth differ in data" in notes
    rmse = read_scores(f"visbench:{path}", metrics=["depth [data 00ff]=rmse"])
    assert matrix(rmse).loc["tiny_vit", "depth [data 00ff]"] == -0.7
    with pytest.raises(ScoresError, match="line 2 is not valid JSON"):
        read_scores(f"visbench:{write(tmp_path / 'x.jsonl', json.dumps(records[0]) + chr(10) + '{')}")
    with pytest.raises(ScoresError, match="line 1 is no record"):
        read_scores(f"visbench:{write(tmp_path / 'y.jsonl', '{}')}")


def probe_run(**other: Any) -> dict[str, Any]:
    metrics = {"lp_acc1": 0.91, "lp_acc5": 0.99, "lp_mean_per_class_recall": 0.9, "weight_decay": 0.001, "epochs": 10}
    metrics |= {"seed": 0, "fewshot_k": -1, "normalized": True}
    run = {
        "dataset": "vtab/eurosat",
        "model": "ViT-T-9",
        "pretrained": "demo_e1",
        "task": "linear_probe",
        "language": "en",
    }
    return {**run, "metrics": {**metrics, **other}}


def test_clip_benchmark_json(tmp_path: Path) -> None:
    write(tmp_path / "benchmark_a.json", probe_run())
    write(tmp_path / "benchmark_b.json", probe_run(seed=1, lp_acc1=0.93))
    frame = read_scores(f"clip-benchmark:{tmp_path}")
    assert frame[["encoder", "task", "seed", "score", "metric"]].to_numpy().tolist() == [
        ["ViT-T-9 demo_e1", "vtab/eurosat", 0, 0.91, "lp_acc1"],
        ["ViT-T-9 demo_e1", "vtab/eurosat", 1, 0.93, "lp_acc1"],
    ]
    write(tmp_path / "c.json", probe_run(fewshot_k=10, lp_acc1=0.5))
    zero = {"acc1": 0.4, "acc5": 0.7, "mean_per_class_recall": 0.39}
    write(tmp_path / "d.json", {**probe_run(), "task": "zeroshot_classification", "metrics": zero})
    frame = read_scores(f"clip-benchmark:{tmp_path}")
    assert set(frame["task"]) == {
        "vtab/eurosat [kind linear_probe, few-shot -1]",
        "vtab/eurosat [kind linear_probe, few-shot 10]",
        "vtab/eurosat [kind zeroshot_classification, few-shot none]",
    }
    with pytest.raises(ScoresError, match="no metrics"):
        read_scores(f"clip-benchmark:{write(tmp_path / 'e.json', {'a': 1})}")


def test_clip_benchmark_csv_and_openclips_tables(tmp_path: Path) -> None:
    built = write(
        tmp_path / "benchmark.csv",
        "acc1,acc5,mean_per_class_recall,dataset,model,pretrained,task,mean_average_precision,image_retrieval_recall@5,"
        "text_retrieval_recall@5,model_fullname\n"
        "0.5125,0.8,0.51,cars,ViT-T-9,demo_e1,zeroshot_classification,,,,ViT-T-9 demo_e1\n"
        ",,,voc2007_multilabel,ViT-T-9,demo_e1,zeroshot_classification,0.7,,,ViT-T-9 demo_e1\n"
        ",,,flickr8k,ViT-T-9,demo_e1,zeroshot_retrieval,,0.4,0.55,ViT-T-9 demo_e1\n",
    )
    assert matrix(read_scores(f"clip-benchmark:{built}")).loc["ViT-T-9 demo_e1"].to_dict() == {
        "cars": 0.5125,
        "voc2007_multilabel": 0.7,
        "flickr8k image retrieval": 0.4,
        "flickr8k text retrieval": 0.55,
    }
    wide = write(
        tmp_path / "openclip_results.csv",
        "name,pretrained,params (M),FLOPs (B),Average perf. on 2 datasets,CIFAR-10,Stanford Cars\n"
        "ViT-T-9,demo_e1,12.50,3.20,0.6000,0.8000,0.4000\nViT-T-9,demo_e2,12.50,3.20,0.3500,0.7000,0.0000\n",
    )
    frame = read_scores(f"clip-benchmark:{wide}")
    assert matrix(frame)["CIFAR-10"].tolist() == [0.8, 0.7]
    assert set(frame["task"]) == {"CIFAR-10", "Stanford Cars"}
    assert frame["params_m"].unique().tolist() == [12.5]
    assert "exactly 0 on Stanford Cars" in frame.attrs["notes"][0]
    with pytest.raises(ScoresError, match="neither dataset"):
        read_scores(f"clip-benchmark:{write(tmp_path / 'z.csv', 'a,b' + chr(10) + '1,2' + chr(10))}")


def lm_run(acc: float, *, shots: int = 5, **other: Any) -> dict[str, Any]:
    run: dict[str, Any] = {
        "results": {
            "demo_task": {
                "alias": "demo_task",
                "acc,none": acc,
                "acc_stderr,none": 0.02,
                "acc_norm,none": 0.45,
                "acc_norm_stderr,none": "N/A",
            },
            "demo_lm": {"alias": "demo_lm", "word_perplexity,none": 21.5, "word_perplexity_stderr,none": "N/A"},
            "both": {"alias": "both", "acc,none": 0.3},
        },
        "group_subtasks": {"both": ["demo_task"], "demo_task": [], "demo_lm": []},
        "higher_is_better": {"demo_task": {"acc": True, "acc_norm": True}, "demo_lm": {"word_perplexity": False}},
        "versions": {"demo_task": 1.0, "demo_lm": 2.0},
        "n-shot": {"demo_task": shots, "demo_lm": 0},
        "n-samples": {"demo_task": {"original": 600, "effective": 600}, "demo_lm": {"original": 50, "effective": 50}},
        "config": {"model": "hf", "model_args": "pretrained=acme/tiny-lm", "limit": None, "random_seed": 0},
        "model_name": "acme/tiny-lm",
    }
    return {**run, **other}


def test_lm_eval(tmp_path: Path) -> None:
    write(tmp_path / "acme__tiny-lm" / "results_2024-05-01T10-00-00.123.json", lm_run(0.4))
    write(tmp_path / "acme__tiny-lm" / "results_2024-04-01T10-00-00.123.json", lm_run(0.1))
    write(tmp_path / "acme__tiny-lm" / "samples_demo_task_2024-04-01T10-00-00.123.jsonl", "{}\n")
    frame = read_scores(f"lm-eval:{tmp_path}").set_index("task")
    assert sorted(frame.index) == ["demo_lm", "demo_task"]
    assert frame.loc["demo_task", ["encoder", "score", "metric", "stderr", "n_test"]].tolist() == [
        "acme/tiny-lm",
        0.4,
        "acc",
        0.02,
        600,
    ]
    assert frame.loc["demo_lm", "score"] == -21.5
    assert any("averages of their tasks: both" in note for note in frame.attrs["notes"])
    chosen = read_scores(f"lm-eval:{tmp_path}", metrics=["acc_norm"]).set_index("task")
    assert chosen["score"].to_dict() == {"demo_task": 0.45, "demo_lm": -21.5}
    listed = lm_run(0.4, configs={"demo_task": {"metric_list": [{"metric": "acc_norm"}, {"metric": "acc"}]}})
    file = write(tmp_path / "one" / "stem_2024-05-01T10-00-00.json", listed)
    assert read_scores(f"lm-eval:{file}").set_index("task").loc["demo_task", "score"] == 0.45


def test_lm_eval_settings_are_told_apart_and_old_files_read(tmp_path: Path) -> None:
    write(tmp_path / "a" / "results_2024-05-01T10-00-00.json", lm_run(0.4))
    write(tmp_path / "b" / "results_2024-05-01T10-00-00.json", lm_run(0.5, shots=0, model_name="acme/other"))
    frame = read_scores(f"lm-eval:{tmp_path}")
    assert {"demo_task [n-shot 5]", "demo_task [n-shot 0]", "demo_lm"} == set(frame["task"])
    old = {
        "results": {"copa": {"acc": 0.7, "acc_stderr": 0.04}, "odd": {"speed": 3.0}},
        "versions": {"copa": 0, "odd": 1},
    }
    old["config"] = {"model_args": "pretrained=gpt-x,dtype=float"}
    frame = read_scores(f"lm-eval:{write(tmp_path / 'old' / 'x.json', old).parent}")
    assert matrix(frame).loc["gpt-x"].to_dict() == {"copa": 0.7, "odd": 3.0}
    assert frame.set_index("task").loc["copa", "stderr"] == 0.04
    assert any("speed on odd" in note for note in frame.attrs["notes"])
    lower = read_scores(f"lm-eval:{tmp_path / 'old'}", better=["odd=lower"])
    assert matrix(lower).loc["gpt-x", "odd"] == -3.0


@pytest.mark.parametrize("name", ["mteb", "timm", "visbench", "clip-benchmark", "lm-eval"])
def test_what_is_not_there_or_of_another_kind_is_said(name: str, tmp_path: Path) -> None:
    with pytest.raises(ScoresError, match=f"the importer {name} reads a f"):
        read_scores(f"{name}:{tmp_path / 'absent'}")
    (tmp_path / "empty").mkdir()
    is_file = registry.load("importers", name).reads == "file"
    with pytest.raises(ScoresError, match="reads a file" if is_file else "finds no scores"):
        read_scores(f"{name}:{tmp_path / 'empty'}")


def test_an_analysis_takes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "results-imagenet.csv", TIMM)
    call = ["analyze", "catalogue", "--results", f"timm:{tmp_path}", "--metric", "top5", "--out", str(tmp_path / "out")]
    assert main(call) == 0
    assert "3 encoders" in capsys.readouterr().out
