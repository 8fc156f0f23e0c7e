"""`make tutorial` runs every lesson, leaves pages, and says which cell failed."""

import subprocess
import sys

import nbformat
import pytest
import run_notebooks
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from transfer import ROOT


def write(folder, name, *cells):
    folder.mkdir(exist_ok=True)
    nbformat.write(new_notebook(cells=[new_markdown_cell(f"# {name}"), *map(new_code_cell, cells)]),
                   folder / f"{name}.ipynb")


def test_progress_bars_are_stored_as_a_terminal_leaves_them():
    assert run_notebooks.as_a_terminal_leaves_it("\r 0% slow\r50% slow\r100%     ") == "100%"
    assert run_notebooks.as_a_terminal_leaves_it("\rbar\r   \r") == ""
    assert run_notebooks.as_a_terminal_leaves_it("plain") == "plain"


def test_pages_an_index_and_the_summary_are_left(home, tmp_path, monkeypatch, capsys):
    write(tmp_path / "notebooks", "01_one", "print('a', end='')\nprint('b')",
          "from pathlib import Path\nPath('seen').write_text('x')")
    monkeypatch.setattr(run_notebooks, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["run", "--store", "--output", str(tmp_path / "pages")])
    run_notebooks.main()
    assert sorted(path.name for path in (tmp_path / "pages").iterdir()) == [
        "01_one.html", "01_one.ipynb", "index.html"]
    assert 'href="01_one.html"' in (tmp_path / "pages" / "index.html").read_text()
    assert (tmp_path / "notebooks" / "seen").exists(), "a lesson runs in its own folder"
    stored = nbformat.read(tmp_path / "notebooks" / "01_one.ipynb", as_version=4)
    assert stored.cells[1].outputs[0].text == "ab\n" and stored.cells[1].execution_count == 1
    assert "01_one" in capsys.readouterr().out


def test_a_failing_cell_is_shown_and_the_others_still_run(home, tmp_path, monkeypatch, capsys):
    write(tmp_path / "notebooks", "01_bad", "assert 1 + 1 == 3, 'arithmetic'")
    write(tmp_path / "notebooks", "02_good", "print('fine')")
    monkeypatch.setattr(run_notebooks, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["run", "--store", "--output", str(tmp_path / "pages")])
    with pytest.raises(SystemExit, match="01_bad.ipynb(.|\n)*arithmetic"):
        run_notebooks.main()
    assert (tmp_path / "pages" / "02_good.html").exists()
    assert "failed at cell 1 of 1" in capsys.readouterr().out
    stored = nbformat.read(tmp_path / "notebooks" / "01_bad.ipynb", as_version=4)
    assert stored.cells[1].outputs == [], "what failed is not stored over the lesson"


def test_a_kernel_that_dies_is_named_and_the_others_still_run(home, tmp_path, monkeypatch, capsys):
    write(tmp_path / "notebooks", "01_dead", "1", "import os\nos._exit(9)")
    write(tmp_path / "notebooks", "02_good", "print('fine')")
    monkeypatch.setattr(run_notebooks, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["run", "--output", str(tmp_path / "pages")])
    with pytest.raises(SystemExit, match="01_dead.ipynb(.|\n)*Kernel died.*not enough memory"):
        run_notebooks.main()
    assert (tmp_path / "pages" / "02_good.html").exists()
    assert "failed at cell 2 of 2" in capsys.readouterr().out


@pytest.mark.parametrize("only", ["99", "1", "[", "../x"])
def test_no_such_lesson_is_an_error_and_the_index_stays(home, tmp_path, monkeypatch, only):
    write(tmp_path / "notebooks", "01_one", "1")
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "index.html").write_text("old")
    monkeypatch.setattr(run_notebooks, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["run", "--only", only, "--output", str(tmp_path / "pages")])
    with pytest.raises(SystemExit, match="no lesson's name begins with .*there are 01_one"):
        run_notebooks.main()
    assert (tmp_path / "pages" / "index.html").read_text() == "old"


@pytest.mark.parametrize("content", ["", "{}", "[1]", "<html>", '{"cells": 1, "nbformat": 4}'])
def test_a_notebook_that_is_none_is_named(home, tmp_path, monkeypatch, content):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "01_torn.ipynb").write_text(content)
    monkeypatch.setattr(run_notebooks, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["run", "--output", str(tmp_path / "pages")])
    with pytest.raises(SystemExit, match="01_torn.ipynb is no whole notebook"):
        run_notebooks.main()


def test_a_place_that_cannot_be_written_is_one_sentence(home, tmp_path, monkeypatch):
    write(tmp_path / "notebooks", "01_one", "1")
    (tmp_path / "file").touch()
    monkeypatch.setattr(run_notebooks, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["run", "--output", str(tmp_path / "file")])
    with pytest.raises(SystemExit, match="error: .*/file"):
        run_notebooks.main()


NOTE = "import sys; sys.path.insert(0, {!r})\nfrom transfer import files, home\nimport json\n" \
       "files.write_sealed(home('summary.json'), json.dumps({{**json.loads(files.read_sealed(" \
       "home('summary.json')) or '{{}}'), {!r}: ['90 %', 1.0]}}))"


def test_two_at_once_leave_one_index_of_both_and_each_its_own_summary(home, tmp_path):
    for name in ("01_one", "02_two"):
        write(tmp_path / "notebooks", name, NOTE.format(str(ROOT / "notebooks"), name))
    program = (f"import sys; from pathlib import Path; sys.path.insert(0, {str(ROOT / 'scripts')!r})\n"
               f"import run_notebooks; run_notebooks.ROOT = Path({str(tmp_path)!r}); run_notebooks.main()")
    both = [subprocess.Popen([sys.executable, "-c", program, "--only", name, "--output", tmp_path / "pages"],
                             stdout=subprocess.PIPE, text=True) for name in ("01", "02")]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert [[f"{name} " in one for name in ("01_one", "02_two")] for one in said] == [
        [True, False], [False, True]]
    assert all("90 %" in one for one in said)
    index = (tmp_path / "pages" / "index.html").read_text()
    assert 'href="01_one.html"' in index and 'href="02_two.html"' in index
