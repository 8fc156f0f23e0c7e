"""scripts/benchmark.py on 12 drawings: every contestant runs, is measured and is compared."""

import argparse
import json
import subprocess
import sys

import benchmark
import benchmark_limits
import keras
import measure
import numpy as np
import pytest
from transfer import ROOT, datasets, models


def command(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, ROOT / "scripts" / "benchmark.py", *map(str, arguments)],
                          capture_output=True, text=True)


def test_every_contestant_is_measured_and_none_of_them_twice(tmp_path):
    out = tmp_path / "benchmark.json"
    first = command("--smoke", "--out", out)
    assert first.returncode == 0, first.stderr
    noted = json.loads(out.read_text())
    assert list(noted["runs"]) == list(benchmark.CONTESTANTS)
    assert sum(noted["photographs"].values()) == 12 and noted["epochs"] == 2
    for name, run in noted["runs"].items():
        assert len(run["answers"]) == len(noted["labels"]), name
        assert 0 < run["epoch_seconds"] < run["seconds"] and run["cpu_seconds"] > 1
        assert 300 < run["peak_mb"] < 10_000  # TensorFlow and VGG16 alone are about a gigabyte
    assert noted["runs"]["ours"]["epoch_seconds"] < noted["runs"]["in one model"]["epoch_seconds"] / 3
    again = command("--smoke", "--out", out)
    assert "..." not in again.stdout and json.loads(out.read_text()) == noted
    assert all(told in again.stdout for told, *_ in benchmark.CONTESTANTS.values())


def test_runs_of_other_photographs_or_versions_are_refused_and_stay(tmp_path, home, folder, monkeypatch):
    """With contestants that run nothing."""
    monkeypatch.setattr(benchmark, "run", lambda *_: {
        "answers": [0] * 6, "seconds": 2.0, "cpu_seconds": 2.0, "epoch_seconds": 1.0, "peak_mb": 500})
    monkeypatch.setattr(benchmark, "table", lambda noted: "")
    given = argparse.Namespace(out=tmp_path / "found.json", smoke=False, contestants=["generator", "ours"])
    photographs = datasets.from_folder(folder, "x")
    benchmark.compete(given, photographs)
    before = given.out.read_bytes()
    assert set(json.loads(before)["runs"]) == {"generator", "ours"}

    def refused(photographs, changed: str) -> None:
        with pytest.raises(ValueError, match=f"2 runs with another .*{changed}.*choose another --out"):
            benchmark.compete(given, photographs)
        assert given.out.read_bytes() == before

    refused(photographs.only(["class0", "class1"]), "dataset")
    (folder / "class0" / "00.jpg").write_bytes((folder / "class0" / "01.jpg").read_bytes())
    refused(photographs, "contents_sha256")
    versions = measure.versions()
    monkeypatch.setattr(measure, "versions", lambda: versions | {"tensorflow": "9.9"})
    refused(photographs, "contents_sha256, versions")


def test_photographs_that_cannot_be_split_are_an_error(tmp_path):
    for label in ("a", "b"):
        (tmp_path / "set" / label).mkdir(parents=True)
        for number in range(4):
            (tmp_path / "set" / label / f"{number}.jpg").write_bytes(b"no picture")
    failed = command("--dataset", tmp_path / "set", "--out", tmp_path / "x.json")
    assert failed.returncode == 1 and failed.stderr.startswith("error: ") and "'a' has 0" in failed.stderr
    assert not (tmp_path / "x.json").exists()


def test_the_table_compares_with_ours():
    run = {"cpu_seconds": 1.0, "peak_mb": 1000}
    noted = {"labels": [0, 1, 1, 0], "runs": {
        "generator": run | {"answers": [0, 0, 0, 0], "seconds": 800.0, "epoch_seconds": 80.0},
        "ours": run | {"answers": [0, 1, 1, 1], "seconds": 100.0, "epoch_seconds": 1.0}}}
    rows = benchmark.table(noted).splitlines()
    assert len(rows) == 4 and "| 800 (8.0) | 1 (1.0) | 80.0 (80.0) |" in rows[2] and "| 50.0 % |" in rows[2]
    assert "| 100 (1.0) |" in rows[3] and rows[3].endswith("| 75.0 % | |")
    low, high = benchmark.difference(noted, "generator")
    assert -1 <= low <= 0.25 <= high <= 1 and np.isfinite([low, high]).all()


def test_a_head_that_is_not_there_is_named_with_the_remedy(tmp_path):
    benchmark.check_head("ours", tmp_path)
    with pytest.raises(ValueError, match="the head of 'ours'.*new --out"):
        benchmark.check_head("ours, fine-tuned", tmp_path)
    (tmp_path / "ours.keras").touch()
    benchmark.check_head("ours, fine-tuned", tmp_path)


def test_it_asks_for_what_it_needs(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["benchmark.py", "--dataset", "mini"])
    with pytest.raises(SystemExit):
        benchmark.arguments()


def test_the_limits_are_measured_in_turn(tmp_path, monkeypatch, capsys):
    """With a small network in place of VGG16."""
    photograph = keras.Input((224, 224, 3))
    x = keras.layers.Conv2D(4, 3, name="kept")(keras.layers.AveragePooling2D(32)(photograph))
    small = keras.Model(photograph, keras.layers.Conv2D(8, 3, name="first")(x), name="small")
    monkeypatch.setattr(models, "backbone", lambda name: models.Backbone(
        small, lambda images: images / 255, "first", "kept"))
    monkeypatch.setattr(sys, "argv", ["benchmark_limits.py", "--dataset", str(ROOT / "data" / "mini"),
                                      "--images", "70", "--rounds", "2", "--out", str(tmp_path / "x.json")])
    monkeypatch.setenv("TRANSFER_HOME", "")  # the script sets one of its own, and monkeypatch sets it back
    benchmark_limits.main()
    noted = json.loads((tmp_path / "x.json").read_text())
    assert noted["images"] == 64 and len(noted["seconds"]) == 5
    assert all(len(took) == 2 and min(took) > 0 for took in noted["seconds"].values())
    assert capsys.readouterr().out.endswith(benchmark_limits.table(noted) + "\n")


def test_the_limits_are_those_of_the_fastest_rounds():
    seconds = {"operation": [2e-11, 1e-11], "forward": [0.614, 0.307], "extraction": [0.4, 0.35],
               "epoch in memory": [0.04, 0.05], "epoch": [0.09, 0.05]}
    table = benchmark_limits.table({"seconds": seconds})
    assert "| 100 GFLOP/s |" in table and "| 307.0 | 100 % of that rate |" in table
    assert "87.7 % of the forward pass's" in table and "| 50.0 | 80.0 % of its images" in table
