"""Colab's versions are read from its list; every place that says them says the same."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import colab_pins
import pytest
import yaml
from transfer import ROOT

FREEZE = """\
absl-py==1.4.0
TensorFlow==2.99.1
# Editable install
-e git+https://github.com/someone/keras@abc#egg=keras
keras[extra]==3.77.0 ; python_version > "3"
scikit_learn==1.9.0
torch @ https://example.org/torch-2.11.0%2Bcpu.whl
keras-hub==0.21.1
tensorflow-datasets==4.9.9
"""
PINS = "# what for\ntensorflow==2.20.0\nkeras==3.13.2\nscikit-learn==1.6.1\n"


def test_versions_come_from_the_list_and_comments_stay():
    assert colab_pins.pinned(PINS, FREEZE, "list") == (
        "# what for\ntensorflow==2.99.1\nkeras==3.77.0\nscikit-learn==1.9.0\n")


def run(monkeypatch, capsys, tmp_path, source) -> tuple[str, str]:
    """What the command wrote, and how it ended."""
    pins = tmp_path / "pins.txt"
    pins.write_text(PINS)
    monkeypatch.setattr(sys, "argv", ["colab_pins.py", "--source", str(source), "--pins", str(pins)])
    try:
        colab_pins.main()
        return pins.read_text(), ""
    except SystemExit as stopped:
        return pins.read_text(), str(stopped.code)


@pytest.mark.parametrize("gone", ["TensorFlow", "keras[extra]", "scikit_learn"])
def test_a_package_that_the_list_lacks_is_named_and_nothing_written(monkeypatch, capsys, tmp_path, gone):
    (tmp_path / "freeze.txt").write_text(FREEZE.replace(f"{gone}==", f"{gone} @ "))
    written, said = run(monkeypatch, capsys, tmp_path, tmp_path / "freeze.txt")
    assert written == PINS and said.startswith("error: ") and "\n" not in said
    assert {"TensorFlow": "of tensorflow (", "keras[extra]": "of keras (",
            "scikit_learn": "of scikit-learn ("}[gone] in said


@pytest.mark.parametrize("source", ["http://127.0.0.1:9/pip-freeze.txt", "nowhere.txt"])
def test_a_list_that_cannot_be_had_is_one_sentence(monkeypatch, capsys, tmp_path, source):
    written, said = run(monkeypatch, capsys, tmp_path, source)
    assert written == PINS and said.startswith(f"error: {source} could not be read") and "\n" not in said


class Published(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/pip-freeze.txt" else 404)
        self.end_headers()
        self.wfile.write(FREEZE.encode())

    def log_message(self, *_):
        pass


def test_the_list_is_read_from_an_address(monkeypatch, capsys, tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Published)
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    assert "keras==3.77.0" in run(monkeypatch, capsys, tmp_path, f"{address}/pip-freeze.txt")[0]
    assert "404" in run(monkeypatch, capsys, tmp_path, f"{address}/elsewhere.txt")[1]
    server.shutdown()


def test_every_place_says_colabs_versions():
    pins = colab_pins.versions((ROOT / "tests" / "colab.txt").read_text())
    said = f"TensorFlow {pins['tensorflow']}, Keras {pins['keras']}"
    for name in ("README.md", "requirements.txt"):
        assert said in (ROOT / name).read_text(encoding="utf-8"), name


def test_nothing_imports_opencv():
    sources = [*ROOT.glob("notebooks/**/*.py"), *ROOT.glob("notebooks/*.ipynb"), *ROOT.glob("scripts/*.py")]
    for path in [*sources, ROOT / "requirements.txt"]:
        text = path.read_text(encoding="utf-8")
        assert "import cv2" not in text and "opencv" not in text, path


def test_the_workflow_has_rows_for_colab_the_oldest_and_the_newest():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    rows = {row["name"]: row for row in jobs["test"]["strategy"]["matrix"]["include"]}
    ranges = (ROOT / "requirements.txt").read_text()
    assert f"tensorflow>={rows['oldest']['pins'].split()[0].split('==')[1][:-2]}" in ranges
    assert set(rows) == {"oldest", "newest"}
    commands = [step.get("run", "") for step in jobs["colab"]["steps"]]
    assert "python tests/colab_pins.py" in commands and "make colab COLAB_PYTHON=python" in commands
