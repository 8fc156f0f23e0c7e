"""scripts/measure.py on a small folder: what it writes, that it goes on, that a run repeats."""

import json
import subprocess
import sys

import benchmark_limits
import measure
import numpy as np
import pytest
from filelock import FileLock
from transfer import ROOT, audit, pipeline, write_whole

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


@pytest.fixture
def measured(home, folder, tmp_path, monkeypatch):
    """A file with one run of a method that needs no network, and how to measure on."""
    def run(measurement, parts, settings, seed):
        return {"validation": {"right": 1, "total": len(parts[1])}, "train": len(parts[0])}

    monkeypatch.setitem(measure.METHODS, METHOD, run)
    out = tmp_path / "found.json"
    assert measure.Measurement(str(folder), out).run(METHOD, 0)

    def again(seed: int) -> bool:
        return measure.Measurement(str(folder), out).run(METHOD, seed)

    return out, again


def refused(out, again, seed: int, match: str) -> None:
    before = out.read_bytes()
    with pytest.raises(ValueError, match=f"{match}.*choose another --out"):
        again(seed)
    assert out.read_bytes() == before


def test_each_run_says_with_what_it_was_measured(measured, monkeypatch):
    out, again = measured
    versions = measure.versions()
    monkeypatch.setattr(measure, "versions", lambda: versions | {"tensorflow": "9.9"})
    assert again(1) and not again(0)
    runs = json.loads(out.read_text())[METHOD]["runs"]
    assert runs["0"]["versions"]["augmentation"] == pipeline.AUGMENTATION
    assert [run["versions"]["tensorflow"] for run in runs.values()] == [versions["tensorflow"], "9.9"]


def test_runs_with_other_settings_are_never_dropped(measured, monkeypatch):
    out, again = measured
    monkeypatch.setitem(measure.SETTINGS, METHOD, measure.SETTINGS[METHOD] | {"epochs": 7})
    refused(out, again, 0, r"holds 1 runs of 'mobilenet_v2' with other settings \(epochs\)")


def test_runs_are_never_paired_with_another_split(measured, monkeypatch):
    out, again = measured
    deal = audit.split
    monkeypatch.setattr(audit, "split", lambda photographs, seed, *shares:
                        deal(photographs, seed + 5, *shares))
    noted = json.loads(out.read_text())
    noted[METHOD]["runs"]["1"] = noted[METHOD]["runs"].pop("0")
    write_whole(out, json.dumps(noted))
    refused(out, again, 0, "the split of seed 0 is not the one")


def test_other_photographs_in_files_of_the_same_names_are_refused(measured, folder):
    out, again = measured
    one, other = (folder / "class0" / f"0{number}.jpg" for number in (3, 4))
    other.write_bytes(one.read_bytes())
    refused(out, again, 1, "other photographs in files of the same names")


def test_two_that_write_to_one_file_are_told(measured, folder, monkeypatch):
    out, _ = measured
    monkeypatch.setattr(sys, "argv", ["measure.py", "--dataset", str(folder), "--methods", METHOD,
                                      "--out", str(out)])
    monkeypatch.setattr(measure.tf.config.experimental, "enable_op_determinism", lambda: None)
    with FileLock(f"{out}.lock"), pytest.raises(SystemExit, match="another process is writing"):
        measure.main()


def test_a_relative_folder_is_meant_from_where_the_command_is_given(home, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder.parent)
    measurement = measure.Measurement(folder.name, tmp_path / "found.json")
    assert measurement.photographs.root == folder


def test_limits_of_nothing_are_refused_in_a_sentence(monkeypatch, folder, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark_limits.py", "--dataset", str(folder), "--images", "31"])
    with pytest.raises(SystemExit):
        benchmark_limits.main()
    assert "at least 32 photographs" in capsys.readouterr().err


def test_json_keeps_every_value_and_lists_in_one_line():
    value = {"a": {"b": [1, 2.5, "ç"], "c": {}}, "d": [], "e": None}
    assert json.loads(measure.text(value)) == value
    assert '"b": [1, 2.5, "ç"]' in measure.text(value)
