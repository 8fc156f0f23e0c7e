"""What README and lessons say of accuracy is what data/results holds, measured as the code measures now."""

import re

import measure
import nbformat
import pytest
from transfer import ROOT, evaluation


@pytest.mark.parametrize("name", ["animals10", "mini"])
def test_results_were_measured_with_the_settings_of_now(name):
    noted = evaluation.measured(name)
    methods = set(noted) & set(measure.METHODS)
    assert {"nearest_mean", "pooled"} <= methods
    for method in methods:
        assert noted[method]["settings"] == measure.SETTINGS[method]
        assert noted[method]["runs"]


@pytest.mark.parametrize("name", ["animals10", "mini"])
def test_summaries_follow_from_the_runs(name):
    for method, entry in evaluation.measured(name).items():
        if method in measure.METHODS and method != "recipes":
            again = {"runs": entry["runs"]}
            measure.summarise(again)
            assert again["test"] == entry["test"] and again["validation"] == entry["validation"]


def figures(noted: dict) -> set[str]:
    """Every percentage that README and lessons may quote, to one digit."""
    found = set()
    for entry in noted.values():
        for part in ("validation", "test"):
            if isinstance(entry, dict) and part in entry:
                rates = [entry[part][key] for key in ("mean", "lowest", "highest")]
                found |= {f"{100 * rate:.1f}" for rate in rates + entry[part]["interval"]}
        for rates in entry.get("accuracy", {}).values() if isinstance(entry, dict) else []:
            found.add(f"{100 * sum(rates) / len(rates):.1f}")
    return found


def test_every_percentage_with_a_decimal_in_the_prose_was_measured():
    known = figures(evaluation.measured("animals10")) | figures(evaluation.measured("mini"))
    known.add("18.6")  # lesson 1: 4,863 of 26,179, a count
    texts = {path.name: path.read_text(encoding="utf-8") for path in ROOT.glob("README*.md")}
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        texts[path.name] = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells
                                     if cell.cell_type == "markdown")
    for name, text in texts.items():
        for figure in re.findall(r"(\d+[.,]\d+) ?%", text):
            assert figure.replace(",", ".") in known, f"{name}: {figure} % is not in data/results"


def test_the_frozen_network_is_as_good_as_it_should_be():
    """Below these, something is wrong with weights, pre-processing or split."""
    assert evaluation.measured("animals10")["pooled"]["test"]["mean"] >= 0.934
    assert evaluation.measured("animals10")["nearest_mean"]["test"]["mean"] >= 0.88
    assert evaluation.measured("mini")["pooled"]["test"]["mean"] >= 0.60
