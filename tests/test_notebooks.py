"""Every notebook is stored as it should be read; that its cells run is nbval's part of `make test`."""

import json
import re
import statistics
from pathlib import Path

import make_results
import nbformat
import pytest
import set_repository
from transfer import REPOSITORY, ROOT

PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NOTEBOOKS = {path.name: nbformat.read(path, as_version=4) for path in PATHS}
EACH = pytest.mark.parametrize("name", NOTEBOOKS)


def code(name: str) -> list:
    return [cell for cell in NOTEBOOKS[name].cells if cell.cell_type == "code"]


def markdown(name: str) -> list:
    return [cell.source for cell in NOTEBOOKS[name].cells if cell.cell_type == "markdown"]


def streams(name: str):
    return [output for cell in code(name) for output in cell.outputs]


@EACH
def test_it_is_valid_normalised_and_executed_in_order(name):
    notebook = NOTEBOOKS[name]
    nbformat.validate(notebook)
    assert [cell.execution_count for cell in code(name)] == list(range(1, len(code(name)) + 1))
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    assert all(set(cell.metadata) <= {"tags"} for cell in notebook.cells)
    assert set(notebook.metadata) == {"kernelspec", "language_info", "accelerator", "colab"}


@EACH
def test_it_holds_no_error_no_stderr_and_no_path_of_a_machine(name):
    for output in streams(name):
        assert output.output_type != "error"
        assert output.get("name") != "stderr"
        text = json.dumps({kind: value for kind, value in output.get("data", output).items()
                           if not kind.startswith("image/")})
        assert not re.search(r"(/work/|/root|/tmp|/home/|/Users/|[A-Z]:\\\\)", text), text[:300]


@EACH
def test_it_is_small_enough_to_open_on_a_bad_connection(name):
    assert (ROOT / "notebooks" / name).stat().st_size <= 500_000


@EACH
def test_it_shows_pictures_and_ran_on_the_drawings(name):
    assert sum("image/png" in o.get("data", {}) or "image/jpeg" in o.get("data", {})
               for o in streams(name)) >= 5
    assert "mini -> " in "".join(o.get("text", "") for o in code(name)[0].outputs)


def test_the_set_up_cell_is_the_same_but_for_the_language():
    cells = {re.sub('^LANGUAGE = ".*"$', "", code(name)[0].source, flags=re.M) for name in NOTEBOOKS}
    assert len(cells) == 1
    assert all(code(name)[0].source.startswith('LANGUAGE = "') for name in NOTEBOOKS)


@EACH
def test_its_badge_opens_this_very_file(name):
    opened = re.findall(r"colab\.research\.google\.com/github/([^)]+\.ipynb)", markdown(name)[0])
    assert opened == [f"{REPOSITORY}/blob/main/notebooks/{name}"]


@EACH
def test_its_links_lead_somewhere(name):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", "\n".join(markdown(name))):
        assert (ROOT / "notebooks" / target).exists(), target


@EACH
def test_it_says_what_one_learns_what_it_costs_and_what_was_proved(name):
    text = "\n".join(markdown(name))
    for part in ("**You will learn**", "**It costs**", "**It needs**", "## What we proved",
                 "## Exercises", "<details><summary>Solutions</summary>", "**What to remember:**"):
        assert part in text, part
    assert text.count("\n# ") == 0, "one first-level heading"


@EACH
def test_its_cells_are_short_and_free_of_prose(name):
    lengths = [len([line for line in cell.source.splitlines() if line.strip()]) for cell in code(name)[1:]]
    assert statistics.median(lengths) <= 5
    assert statistics.quantiles(lengths, n=10)[-1] < 14
    assert sum(cell.source.count("assert ") for cell in code(name)) >= 5


@EACH
def test_no_cell_is_skipped(name):
    skipped = [cell.id for cell in code(name)
               if "NBVAL_SKIP" in cell.source or {"nbval-skip", "skip"} & set(cell.metadata.get("tags", []))]
    assert skipped == []


def test_every_place_names_the_same_repository():
    assert set_repository.current() == REPOSITORY
    for path in set_repository.places():
        text = path.read_text(encoding="utf-8")
        for found in re.findall(r"github(?:\.com)?/([\w.-]+/[\w.-]+)/(?:blob|tree)", text):
            assert found == REPOSITORY, path
        for found in re.findall(r'ADDRESS = \\?"https://github\.com/([\w.-]+/[\w.-]+)\\?"', text):
            assert found == REPOSITORY, path


def test_make_repository_changes_every_place(tmp_path, monkeypatch):
    places = []
    for path in set_repository.places():
        copy = tmp_path / path.name
        copy.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
        places.append(copy)
    monkeypatch.setattr(set_repository, "ROOT", tmp_path)
    monkeypatch.setattr(set_repository, "CONSTANT", tmp_path / "__init__.py")
    monkeypatch.setattr(set_repository, "places", lambda: places)
    monkeypatch.setattr("sys.argv", ["set_repository.py", "someone/something"])
    set_repository.main()
    for path in places:
        assert REPOSITORY not in path.read_text(encoding="utf-8"), path
        assert "someone/something" in path.read_text(encoding="utf-8"), path


def test_no_photograph_of_the_measured_sets_is_committed():
    names = {path.name for path in Path(ROOT / "data").rglob("*")
             if path.suffix.lower() in (".jpg", ".jpeg", ".png")}
    listed = (ROOT / "data" / "mini" / "SOURCES.csv").read_text(encoding="utf-8")
    drawn = {f"{name}.png" for name in make_results.DRAWN}
    assert all(f"/{name}," in listed for name in names - drawn)
