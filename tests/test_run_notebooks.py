"""`make tutorial` runs every lesson, leaves pages, and says which cell failed."""

import nbformat
import pytest
import run_notebooks
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook


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
