"""The zoo: what zoo.yaml says, and files that arrive whole or not at all, from a server of the test's own."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from virb import registry
from virb.cli import main
from virb.convert import zoo
from virb.convert.load import expand_sources, load_encoder
from virb.errors import CheckpointError, UsageError
from virb.system import download

ROOT = Path(__file__).parents[2]
TABLE3 = ROOT / "analysis" / "papers" / "tables" / "virb_table3.csv"  # Kotar et al. 2021, Table 3

# -- what zoo.yaml says


def in_the_papers_words(entry: zoo.Published) -> dict[str, str]:
    """An entry's facts as Table 3 of Kotar et al. 2021 writes them."""
    methods = {"swav": "SwAV", "moco-v2": "MoCov2", "moco-v1": "MoCov1", "pirl": "PIRL"}
    subsets = {None: "", "half": "-1/2", "quarter": "-1/4", "lin": "-1/2-Lin", "log": "-1/4-Log"}
    meta = entry.meta
    return {
        "encoder": entry.title,
        "method": methods[meta["method"]],
        "dataset": meta["dataset"] + subsets[meta.get("subset")],
        "dataset_size": f"{meta['dataset_size'] / 1e6:g}M",
        "epochs": str(meta["epochs"]),
        "trained_by_authors": "Yes" if entry.page == "https://github.com/allenai/ViRB" else "No",
    }


def test_the_papers_thirty_are_there_with_its_facts_in_its_order():
    with TABLE3.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 30
    assert [in_the_papers_words(entry) for entry in zoo.published().values() if entry.is_papers] == rows


def test_the_balance_is_the_subsets():
    for entry in zoo.published().values():
        subset = entry.meta.get("subset")
        assert entry.meta.get("balance") == (
            (subset if subset in ("lin", "log") else "balanced") if entry.meta["dataset"] == "ImageNet" else None
        )


def test_names_are_safe_methods_are_ours_and_addresses_and_places_are_all_different(monkeypatch, tmp_path):
    monkeypatch.setenv("VIRB_ZOO", str(tmp_path / "zoo"))
    entries = list(zoo.published().values())
    methods = {entry.name for entry in registry.entries("methods")}
    for entry in entries:
        assert re.fullmatch(r"[a-z0-9-]+", entry.name)
        assert entry.meta["method"] in methods
        assert entry.name == "-".join(
            part
            for part in (
                entry.meta["method"],
                {"half": "half", "quarter": "quarter", "lin": "linear-unbalanced", "log": "log-unbalanced"}.get(
                    entry.meta.get("subset"), ""
                ),
                entry.meta["dataset"].lower(),
                str(entry.meta["epochs"]),
            )
            if part
        )
        assert entry.url.startswith("https://")
        assert entry.digest is None or re.fullmatch(r"(md5|sha256):[0-9a-f]{8,64}", entry.digest)
        assert entry.arch == "resnet50"
        assert entry.path.parent == tmp_path / "zoo" / entry.name
        assert "%" not in entry.path.name
    assert len({entry.url for entry in entries}) == len(entries)
    assert len({entry.path for entry in entries}) == len(entries)


def test_the_zoos_digests_are_those_that_the_publishers_print():
    printed = {
        "moco-v1-imagenet-200": "md5:b251726a",  # the README of facebookresearch/moco, column md5
        "moco-v2-imagenet-200": "md5:59fd9945",
        "moco-v2-imagenet-800": "md5:a04e12f8",
        "supervised-imagenet-90": "sha256:0676ba61",  # the file's name, as torch.hub reads it
    }
    assert {entry.name: entry.digest for entry in zoo.published().values() if entry.digest} == printed


def test_a_name_that_is_not_there_gets_the_closest():
    with pytest.raises(CheckpointError, match=r"no encoder called 'swav-imagenet-8000'.*zoo:swav-imagenet-800\b"):
        load_encoder("zoo:swav-imagenet-8000")
    with pytest.raises(CheckpointError, match=r"Did you mean .*zoo:pirl-imagenet-800"):
        load_encoder("pirl-imagenet-800")
    with pytest.raises(UsageError, match="is a pattern"):
        load_encoder("zoo:swav-*")


def test_patterns_become_names_and_everything_else_stays():
    assert expand_sources([Path("b"), "zoo:pirl-*", "zoo:moco-v1*:size=96"]) == [
        Path("b"),
        "zoo:pirl-imagenet-800",
        "zoo:moco-v1-imagenet-200:size=96",
    ]
    assert len(expand_sources(["zoo:swav-*"])) == 14
    with pytest.raises(UsageError, match="matches none"):
        expand_sources(["zoo:clip-*"])
    with pytest.raises(UsageError, match=r"a\*\.pt matches no file"):
        expand_sources(["nowhere/a*.pt"])


# -- a server


class Server:
    """Serves ``files``, with what goes wrong as the attributes say."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.has_ranges = True
        self.etag = '"v1"'
        self.status = 200
        self.cuts: list[int] = []  # how many bytes the next answers send before the connection is cut
        self.hold = threading.Event()  # answers wait for it
        self.hold.set()
        self.requests: list[tuple[str, str | None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        asked = request.headers.get("Range")
        self.requests.append((request.path, asked))
        self.hold.wait(20)
        if self.status != 200:
            request.send_error(self.status)
            return
        body, start = self.files[request.path], 0
        if asked and self.has_ranges and request.headers.get("If-Range") == self.etag:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])  # type: ignore[index]
            if start >= len(body):
                request.send_response(416)
                request.send_header("Content-Range", f"bytes */{len(body)}")
                request.end_headers()
                return
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            request.send_response(200)
        if self.etag:
            request.send_header("ETag", self.etag)
        request.send_header("Content-Length", str(len(body) - start))
        request.end_headers()
        rest = body[start:]
        request.wfile.write(rest[: self.cuts.pop(0)] if self.cuts else rest)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setenv("VIRB_ZOO", str(tmp_path / "zoo"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "PAUSE_S", 0.0)
    running = Server()
    yield running
    running.hold.set()
    running.http.shutdown()
    running.http.server_close()


BODY = bytes(range(256)) * 12_000  # three megabytes


def entry(server: Server, *, body: bytes = BODY, digest: str | None = None, **changes: Any) -> zoo.Published:
    server.files["/models/weights%20v1.pth"] = body
    return zoo.Published(
        **{
            "name": "tiny-100",
            "title": "Tiny 100",
            "url": f"{server.address}/models/weights%20v1.pth",
            "page": "https://example.org/tiny",
            "layout": "",
            "arch": "resnet18",
            "digest": digest,
            **changes,
        }
    )


def beside(path: Path) -> set[str]:
    return {other.name for other in path.parent.iterdir()} - {path.name, "lock"}


# -- fetching


def test_a_file_is_fetched_once_and_its_digest_is_kept(server, tmp_path, capsys):
    tiny = entry(server)
    path = zoo.fetch(tiny)
    assert path == tmp_path / "zoo" / "tiny-100" / "weights v1.pth"
    assert path.read_bytes() == BODY
    assert f"zoo:tiny-100: fetching {tiny.url} to {path}" in capsys.readouterr().err
    assert zoo.fetch(tiny) == path
    assert len(server.requests) == 1
    assert beside(path) == {"weights v1.pth.sha256"}
    kept = path.with_name("weights v1.pth.sha256").read_text()
    assert kept == f"{hashlib.sha256(BODY).hexdigest()}  weights v1.pth\n"


def test_the_zoo_is_in_the_cache_folder_where_no_other_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv("VIRB_ZOO", raising=False)
    monkeypatch.setenv("VIRB_CACHE", str(tmp_path / "cache"))
    assert zoo.folder() == tmp_path / "cache" / "zoo"


def test_a_cut_connection_goes_on_where_it_was_cut(server):
    server.cuts = [1_000_000, 500_000]
    path = zoo.fetch(entry(server))
    assert path.read_bytes() == BODY
    assert [asked for _, asked in server.requests] == [None, "bytes=1000000-", "bytes=1500000-"]
    assert beside(path) == {"weights v1.pth.sha256"}


def test_a_later_command_goes_on_where_an_earlier_one_stopped(server):
    tiny = entry(server)
    server.cuts = [1_000_000, 0]
    with pytest.raises(CheckpointError, match=r"cut at 1,000,000 of 3,072,000.*the 1,000,000 bytes that came are kept"):
        zoo.fetch(tiny)
    assert not tiny.path.exists()
    assert zoo.fetch(tiny).read_bytes() == BODY
    assert server.requests[-1][1] == "bytes=1000000-"


def test_a_download_that_was_whole_but_not_yet_named_is_not_fetched_again(server):
    tiny = entry(server)
    tiny.path.parent.mkdir(parents=True)
    tiny.path.with_name("weights v1.pth.part").write_bytes(BODY)
    tiny.path.with_name("weights v1.pth.part.tag").write_text(server.etag)
    assert zoo.fetch(tiny).read_bytes() == BODY
    assert [asked for _, asked in server.requests] == ["bytes=3072000-"]
    assert beside(tiny.path) == {"weights v1.pth.sha256"}


def test_a_part_that_is_longer_than_the_file_is_begun_again(server):
    tiny = entry(server)
    tiny.path.parent.mkdir(parents=True)
    tiny.path.with_name("weights v1.pth.part").write_bytes(BODY + b"more")
    tiny.path.with_name("weights v1.pth.part.tag").write_text(server.etag)
    assert zoo.fetch(tiny).read_bytes() == BODY


@pytest.mark.parametrize(("has_ranges", "etag"), [(False, '"v1"'), (True, ""), (True, 'W/"v1"')])
def test_a_server_that_cannot_go_on_is_asked_for_all_of_it_again(server, has_ranges, etag):
    server.has_ranges, server.etag, server.cuts = has_ranges, etag, [1_000_000]
    assert zoo.fetch(entry(server)).read_bytes() == BODY
    assert len(server.requests) == 2


def test_a_server_that_cuts_at_the_same_place_every_time_is_given_up(server):
    server.has_ranges, server.cuts = False, [1_000_000] * 9
    with pytest.raises(CheckpointError, match="cut at 1,000,000 of 3,072,000"):
        zoo.fetch(entry(server))
    assert len(server.requests) == 2


def test_two_versions_of_a_file_are_never_joined(server):
    tiny = entry(server)
    server.cuts = [1_000_000, 0]
    with pytest.raises(CheckpointError):
        zoo.fetch(tiny)
    other = BODY[::-1]
    entry(server, body=other)
    server.etag = '"v2"'
    assert zoo.fetch(tiny).read_bytes() == other


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_the_publishers_digest_is_compared(server, kind):
    right = hashlib.new(kind, BODY).hexdigest()
    assert zoo.fetch(entry(server, digest=f"{kind}:{right[:8]}", name="right")).read_bytes() == BODY
    wrong = entry(server, digest=f"{kind}:{right[1:9]}", name="wrong")
    with pytest.raises(CheckpointError, match=f"its {kind} is {right}, and the published one begins with {right[1:9]}"):
        zoo.fetch(wrong)
    assert not wrong.path.exists()
    assert beside(wrong.path) == {"weights v1.pth.bad"}


def test_a_file_that_changed_after_its_first_use_is_refused(server):
    tiny = entry(server)
    zoo.fetch(tiny).write_bytes(BODY[:-1] + b"?")
    now, before = (hashlib.sha256(body).hexdigest() for body in (BODY[:-1] + b"?", BODY))
    with pytest.raises(CheckpointError, match=f"has changed.*{now}.*{before}"):
        zoo.fetch(tiny)


def test_a_file_placed_by_hand_is_used_and_checked_and_nothing_is_asked_of_the_server(server):
    placed = entry(server, digest=f"md5:{hashlib.md5(BODY).hexdigest()}")
    placed.path.parent.mkdir(parents=True)
    placed.path.write_bytes(BODY)
    assert zoo.fetch(placed) == placed.path
    assert beside(placed.path) == {"weights v1.pth.sha256"}
    wrong = entry(server, digest="md5:0123abcd", name="wrong")
    wrong.path.parent.mkdir(parents=True)
    wrong.path.write_bytes(BODY)
    with pytest.raises(CheckpointError, match=r"is not the file that was published.*begins with 0123abcd"):
        zoo.fetch(wrong)
    assert wrong.path.read_bytes() == BODY
    assert server.requests == []


def test_without_a_connection_it_says_what_to_put_where(server, tmp_path):
    tiny = entry(server)
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(CheckpointError) as raised:
        zoo.fetch(tiny)
    text = str(raised.value)
    assert "no connection" in text
    assert f"download {tiny.url} (published at https://example.org/tiny)" in text
    assert f"put the file at {tmp_path / 'zoo' / 'tiny-100' / 'weights v1.pth'}" in text


@pytest.mark.parametrize(("status", "says"), [(404, "may have moved"), (503, "answered 503")])
def test_a_refusal_is_reported_with_the_way_out(server, status, says):
    server.status = status
    with pytest.raises(CheckpointError, match=rf"answered {status}.*By hand: download") as raised:
        zoo.fetch(entry(server))
    assert says in str(raised.value)
    assert len(server.requests) == 1


def test_a_disk_without_room_is_noticed_before_anything_is_written(server, monkeypatch):
    tiny = entry(server)
    usage = type("Usage", (), {"free": 2_000_000})
    monkeypatch.setattr(download.shutil, "disk_usage", lambda place: usage)
    with pytest.raises(CheckpointError, match=r"3\.1 MB are to come.*2\.0 MB free.*VIRB_ZOO"):
        zoo.fetch(tiny)
    assert beside(tiny.path) == set()


def test_a_folder_that_cannot_be_made_is_named(server, monkeypatch, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("VIRB_ZOO", str(tmp_path / "file"))
    with pytest.raises(CheckpointError, match=r"Cannot write .*VIRB_ZOO"):
        zoo.fetch(entry(server))


def test_threads_that_want_a_file_at_once_fetch_it_once(server):
    tiny = entry(server)
    server.hold.clear()
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(zoo.fetch(tiny))) for _ in range(4)]
    for thread in threads:
        thread.start()
    threading.Timer(0.3, server.hold.set).start()
    for thread in threads:
        thread.join(20)
    assert found == [tiny.path] * 4
    assert len(server.requests) == 1


def test_processes_that_want_a_file_at_once_fetch_it_once(server, tmp_path):
    tiny = entry(server)
    server.hold.clear()
    code = (
        "import sys; from virb.convert import zoo; print('ready', flush=True); sys.stdin.readline();"
        f"print(zoo.fetch(zoo.Published('tiny-100', 'Tiny', {tiny.url!r}, 'page', '', 'resnet18')))"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    threading.Timer(0.5, server.hold.set).start()
    outputs = [process.communicate(timeout=600) for process in running]
    assert [out.strip() for out, _ in outputs] == [str(tiny.path)] * 2, outputs
    assert tiny.path.read_bytes() == BODY
    assert len(server.requests) == 1


# -- loading


def small(seed: int = 0) -> dict[str, torch.Tensor]:
    return load_encoder(f"random:resnet18:width=0.125,seed={seed}").state_dict()


def under(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{prefix}{key}": value for key, value in state.items()}


HEAD = {"weight": torch.zeros(3, 64), "bias": torch.zeros(3)}
#: What each publisher's files hold beside the encoder, in the dict that the encoder's tensors lie in.
BESIDE = {
    "virb": [("model.projection_head.0.", HEAD), ("model.fc.0.", HEAD)],
    "swav": [("module.projection_head.0.", HEAD), ("module.prototypes.", HEAD)],
    "moco": [("module.encoder_k.", small(1)), ("module.encoder_q.fc.0.", HEAD), ("module.", {"queue": torch.ones(4)})],
    "vissl": [],
    "simsiam": [("module.encoder.fc.0.", HEAD), ("module.predictor.0.", HEAD)],
    "mocov3": [
        ("module.momentum_encoder.", small(1)),
        ("module.base_encoder.fc.0.", HEAD),
        ("module.predictor.", HEAD),
    ],
    "barlowtwins": [],
    "vicreg": [],
    "dino": [],
    "lightly": [("teacher_backbone.", small(1)), ("projection_head.layers.0.", HEAD), ("online_classifier.", HEAD)],
    "torchvision": [("fc.", HEAD)],
}


def a_file_of(publisher: str, layout: str) -> bytes:
    """A file as the publisher lays it out: the encoder at ``layout``, and what lies beside it."""
    *containers, prefix = layout.split("/")
    content: dict[str, Any] = under(prefix, small())
    for other, state in BESIDE[publisher]:
        content |= under(other, state)
    for container in reversed(containers):
        content = {container: content, "epoch": 100}
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def publishers() -> dict[str, zoo.Published]:
    import yaml

    content = yaml.safe_load((ROOT / "encoders" / "zoo.yaml").read_text(encoding="utf-8"))
    rows = content["paper"] + content["others"]
    return {row["publisher"]: zoo.published()[row["name"]] for row in rows}


@pytest.mark.parametrize("publisher", sorted(BESIDE))
def test_every_publishers_layout_is_read_from_where_the_zoo_says(server, publisher, monkeypatch):
    known = publishers()
    assert sorted(BESIDE) == sorted(known)
    real = known[publisher]
    body = a_file_of(publisher, real.layout)
    local = replace(entry(server, body=body), name=real.name, layout=real.layout, meta=real.meta)
    local = replace(local, options={**real.options, "width": 0.125})
    monkeypatch.setattr(zoo, "published", lambda: {real.name: local})
    encoder = load_encoder(f"zoo:{real.name}:size=32")
    assert encoder.report is not None
    assert encoder.report.place == real.layout
    assert encoder.sha256 == load_encoder("random:resnet18:width=0.125,seed=0").sha256
    assert encoder.name == f"{real.name}-size32"
    assert encoder.preprocess.size == 32
    assert encoder.meta == {**real.meta, "title": "Tiny 100", "source": local.url}


def test_the_command_line_fetches_evaluates_and_records_the_zoos_facts(server, monkeypatch, tmp_path, capsys):
    def made(name: str, seed: int, method: str) -> zoo.Published:
        file = io.BytesIO()
        torch.save({"state_dict": under("module.encoder_q.", small(seed))}, file)
        server.files[f"/{name}.pth.tar"] = file.getvalue()
        meta = {
            "method": method,
            "dataset": "ImageNet",
            "balance": "balanced",
            "dataset_size": 1_300_000,
            "epochs": 200,
        }
        changes: dict[str, Any] = {"name": name, "url": f"{server.address}/{name}.pth.tar", "meta": meta}
        return entry(server, **changes, options={"width": 0.125, "size": 32})

    entries = [made("swav-a", 1, "swav"), made("swav-b", 2, "moco-v2"), made("other", 3, "pirl")]
    monkeypatch.setattr(zoo, "published", lambda: {one.name: one for one in entries})
    out = tmp_path / "results"
    asked = ["--tasks", "mini-digits", "--limit", "40", "--epochs", "1", "--device", "cpu"]
    assert main(["evaluate", "zoo:swav-*", *asked, "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == ["swav-a", "swav-b"]
    assert main(["results", "export", str(tmp_path / "scores.csv"), "--results", str(out)]) == 0
    with (tmp_path / "scores.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["encoder"]: row for row in csv.DictReader(file)}
    assert {name: row["method"] for name, row in rows.items()} == {"swav-a": "swav", "swav-b": "moco-v2"}
    assert {(row["dataset"], row["dataset_size"], row["epochs"]) for row in rows.values()} == {
        ("ImageNet", "1300000", "200")
    }
    capsys.readouterr()
    assert main(["list", "encoders", "--json"]) == 0
    states = {row["name"]: row["state"] for row in json.loads(capsys.readouterr().out)}
    assert (states["zoo:swav-a"], states["zoo:other"], states["random"]) == ("present", "absent", "present")
    assert main(["tune", "zoo:swav-*", "--tasks", "mini-digits", "--out", str(tmp_path / "tuning")]) == 2
    assert "names 2 encoders" in capsys.readouterr().err


def test_listing_encoders_is_free_of_torch_and_of_the_network():
    code = (
        "import sys; from virb.cli import main; main(['list', 'encoders']);"
        "print({'torch', 'numpy', 'urllib.request'} & set(sys.modules), file=sys.stderr)"
    )
    listed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert listed.stderr.strip() == "set()"
    for name in zoo.published():
        assert f"zoo:{name} " in listed.stdout
