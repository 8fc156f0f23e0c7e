"""scripts/measure.py on a small folder: what it writes, that it goes on, that a run repeats."""

import json
import subprocess
import sys

import measure
import numpy as np
import pytest
from transfer import ROOT, write_whole

METHOD = "mobilenet_v2"


def command(folder, out, seeds: int) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "measure.py"), "--dataset", str(folder), "--methods", METHOD,
         "--seeds", str(seeds), "--out", str(out)], capture_output=True, text=True)


def test_a_run_repeats_to_the_last_digit_and_others_are_not_done_again(home, folder, tmp_path):
    out = tmp_path / "found.json"
    done = command(folder, out, seeds=2)
    assert "2 of 2" in done.stdout, done.stderr
    first = json.loads(out.read_text())
    assert first["dataset"]["files"] == [f"class{i}/{n:02}.jpg" for i in range(3) for n in range(12)]
    assert first["dataset"]["classes"] == {"class0": 12, "class1": 12, "class2": 12}
    for seed, run in first[METHOD]["runs"].items():
        test = run["test"]
        assert len(test["answers"]) == len(test["confidence"]) == len(first["splits"][seed]["test"])
        labels = np.array(first["splits"][seed]["test"]) // 12
        assert (labels == test["answers"]).sum() == test["right"]
    low, high = first[METHOD]["test"]["pooled_interval"]
    assert low <= first[METHOD]["test"]["mean"] <= high

    gone = first[METHOD]["runs"].pop("1")
    write_whole(out, json.dumps(first))
    assert command(folder, out, seeds=2).returncode == 0
    again = json.loads(out.read_text())[METHOD]["runs"]
    assert again["0"] == first[METHOD]["runs"]["0"]
    for part in ("validation", "test", "history"):
        assert again["1"][part] == gone[part]

    (folder / "class0" / "00.jpg").unlink()
    with pytest.raises(ValueError, match="other photographs.*--out"):
        measure.Measurement(str(folder), out)


def test_json_keeps_every_value_and_lists_in_one_line():
    value = {"a": {"b": [1, 2.5, "ç"], "c": {}}, "d": [], "e": None}
    assert json.loads(measure.text(value)) == value
    assert '"b": [1, 2.5, "ç"]' in measure.text(value)
