"""Run the lessons from top to bottom, each in a fresh kernel, and leave pages to read.

    python scripts/run_notebooks.py [--store] [--only 03] [--output build/tutorial]

Executed notebooks, HTML pages and an index go to the output folder; with --store the outputs are
also written back into notebooks/, as they are published. TRANSFER_DATASET chooses the data set.
"""

import argparse
import html
import json
import os
import re
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError
from nbconvert import HTMLExporter

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "notebooks"))
from transfer import ROOT, home, write_whole  # noqa: E402
from transfer.files import alone, read_sealed  # noqa: E402


class Lesson:
    """One notebook being run, with its progress on one line of the terminal."""

    def __init__(self, path: Path):
        self.path, self.name = path, path.stem
        try:
            self.notebook = nbformat.read(path, as_version=4)
        except Exception as error:  # nbformat raises its own kinds, and json's
            raise ValueError(f"{path} is no whole notebook ({error}); get it again") from error
        self.cells = sum(cell.cell_type == "code" for cell in self.notebook.cells)
        self.done, self.start = 0, time.perf_counter()

    @property
    def title(self) -> str:
        first = self.notebook.cells[0].source if self.notebook.cells else ""
        found = re.search(r"^# (.+)$", first, re.M)
        return found[1] if found else self.name

    def _cell_begins(self, **_) -> None:
        self.done += 1
        if sys.stdout.isatty():
            print(f"\r{self.name:28s} cell {self.done} of {self.cells}", end="", flush=True)

    def run(self) -> str:
        """Execute; returns an error message, or nothing."""
        client = NotebookClient(
            self.notebook, timeout=None, kernel_name="python3", record_timing=False,
            resources={"metadata": {"path": str(self.path.parent)}},
            extra_arguments=["--IPKernelApp.log_level=40"], on_cell_execute=self._cell_begins)
        try:
            client.execute()
            error = ""
        except Exception as failure:  # of a cell, or the kernel died or did not start
            error = re.sub(r"\x1b\[[0-9;]*m", "", f"{failure}" or type(failure).__name__)
            if isinstance(failure, DeadKernelError):
                error += " (not enough memory, as a rule: close other programs, or take fewer photographs)"
        normalise(self.notebook)
        seconds = time.perf_counter() - self.start
        outcome = f"{seconds:5.0f} s" if not error else f"failed at cell {self.done} of {self.cells}"
        print(f"\r{self.name:28s} {self.cells:3d} cells  {outcome}", flush=True)
        return error

    def write(self, folder: Path) -> None:
        """The executed notebook and its page."""
        write_whole(folder / self.path.name, nbformat.writes(self.notebook) + "\n")
        page, _ = HTMLExporter(template_name="lab").from_notebook_node(self.notebook)
        write_whole(folder / f"{self.name}.html", page)


def normalise(notebook) -> None:
    """Drop what differs from machine to machine and says nothing to a reader."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "accelerator": "GPU",
        "colab": {"provenance": []},
    }
    for cell in notebook.cells:
        cell.metadata = {key: value for key, value in cell.metadata.items() if key == "tags"}
        if cell.cell_type == "code":
            cell.outputs = merge_streams(cell.outputs)


def merge_streams(outputs: list) -> list:
    """Neighbouring pieces of one stream as one text, progress bars as a terminal leaves them."""
    merged = []
    for output in outputs:
        if merged and "name" in output and output.get("name") == merged[-1].get("name"):
            merged[-1].text += output.text
        else:
            merged.append(output)
    for output in merged:
        if output.output_type == "stream":
            output.text = "\n".join(as_a_terminal_leaves_it(line) for line in output.text.split("\n"))
    return [output for output in merged if output.get("text", "shown").strip()]


def as_a_terminal_leaves_it(line: str) -> str:
    """What is seen once every carriage return has sent the next piece over the one before."""
    seen = ""
    for piece in line.split("\r"):
        seen = piece + seen[len(piece):]
    return seen.rstrip()


def write_index(folder: Path) -> None:
    """A page with links to the lessons' pages, those of earlier runs among them."""
    lessons = [Lesson(path) for path in notebooks() if (folder / f"{path.stem}.html").exists()]
    items = "".join(f'<li><a href="{lesson.name}.html">{html.escape(lesson.title)}</a></li>'
                    for lesson in lessons)
    write_whole(folder / "index.html", (
        '<!doctype html><meta charset="utf-8"><title>Transfer learning</title>'
        '<body style="font:18px/1.6 sans-serif;max-width:40em;margin:3em auto">'
        f"<h1>Transfer learning</h1><ul>{items}</ul>"))


def print_summary() -> None:
    """What the lessons noted with `evaluation.note`: method, accuracy with interval, seconds."""
    noted = json.loads(read_sealed(home("summary.json")) or "{}")
    if noted:
        print(f"\n{'method':38s} {'validation accuracy (95 % interval)':38s} seconds")
    for method, (accuracy, seconds) in noted.items():
        print(f"{method:38s} {accuracy:38s} {seconds:7.1f}")


def notebooks(only: str = "") -> list[Path]:
    """The lessons whose name begins so; at least one."""
    there = sorted((ROOT / "notebooks").glob("*.ipynb"))
    found = [path for path in there if path.name.startswith(only)]
    if not found:
        raise ValueError(f"no lesson's name begins with {only!r}; there are "
                         f"{', '.join(path.stem for path in there) or 'none'}")
    return found


def run(lessons: list[Lesson], output: Path, store: bool) -> list[str]:
    """Run them, leave their pages and the index; the errors."""
    errors = []
    home("summary.json").unlink(missing_ok=True)
    for lesson in lessons:
        lesson.start = time.perf_counter()
        if error := lesson.run():
            errors.append(f"\n{lesson.path.name}:\n{error}")
        lesson.write(output)
        if store and not error:
            write_whole(lesson.path, nbformat.writes(lesson.notebook) + "\n")
    write_index(output)
    print_summary()
    return errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", action="store_true", help="write outputs into notebooks/ too")
    parser.add_argument("--only", default="", help="the lessons whose name begins so, such as 03")
    parser.add_argument("--output", type=Path, help="a folder; by default tutorial in TRANSFER_HOME or build")
    arguments = parser.parse_args()
    try:
        lessons = [Lesson(path) for path in notebooks(arguments.only)]
        output = arguments.output or home("tutorial")
        output.mkdir(parents=True, exist_ok=True)
        print(f"data set: {os.environ.get('TRANSFER_DATASET', 'mini')}", flush=True)
        with alone(home("tutorial.lock"), "runs the lessons"):  # as the summary and the index are for all
            errors = run(lessons, output, arguments.store)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    print(f"\nopen {output / 'index.html'}")
    if errors:
        sys.exit("\n".join(errors))


if __name__ == "__main__":
    main()
