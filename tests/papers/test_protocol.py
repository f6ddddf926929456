"""In what a row of ours departs from a published cell is named, one thing after the other; nothing is passed over."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from virb.papers.protocol import departures, label_share, probe_fits

PROBES = {"linear": ("gradient", "lbfgs")}
PART = SimpleNamespace(protocol={"probe": "linear"})
SCALE = SimpleNamespace(input_px=224)
OURS = {"task": "t", "our_task": "t", "probe": "lbfgs", "input_size": 224, "n_test": 10}


@pytest.mark.parametrize(
    ("changes", "published", "said"),
    [
        ({}, {}, []),
        ({"our_task": "mini-t"}, {}, ["mini-t stands in for t"]),
        ({"probe": "knn"}, {}, ["probe knn (published: linear)"]),
        ({"probe": "lbfgs+label_fraction=0.1", "label_fraction": 0.1}, {}, ["10 % of the labels (published: 100 %)"]),
        ({"label_fraction": 0.1}, {"labels": 10}, []),
        ({"overrides": "limit=50+epochs=2"}, {}, ["limit=50", "epochs=2"]),
        ({"overrides": "label_fraction=0.1", "label_fraction": 0.1}, {"label_fraction": 0.1}, []),
        ({"labels_per_class": 5.0}, {}, ["5 labels a class"]),
        ({"input_size": 64}, {}, ["images of 64 px (published: 224)"]),
        ({"our_task": "dtd", "task": "dtd", "n_test": 3}, {}, ["3 of 1,880 test examples"]),
    ],
)
def test_each_departure_is_named(changes, published, said):
    assert departures({**OURS, **changes}, published, PART, SCALE, PROBES) == said


def test_a_bare_table_says_nothing_of_its_protocol():
    assert departures({"task": "t", "our_task": "t", "probe": float("nan")}, {}, PART, SCALE, PROBES) == [
        "its protocol is not said"
    ]


def test_shares_of_labels_and_probes_that_a_cell_names():
    assert label_share({}) == label_share({"labels": float("nan")}) == 1.0
    assert label_share({"labels": 1}) == 0.01
    assert probe_fits({"probe": "gradient+epochs=3"}, {"probe": "linear"}, PROBES)
    assert not probe_fits({"probe": "knn"}, {"probe": "linear"}, PROBES)
    assert probe_fits({"probe": "knn"}, {}, PROBES)
