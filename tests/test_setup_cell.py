"""The first cell of a lesson finds the helper wherever it is run, or says in a sentence what is missing."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time

import pytest
from transfer import ROOT

LESSON = json.loads((ROOT / "notebooks" / "01_data.ipynb").read_text(encoding="utf-8"))
CELL = "".join(next(cell["source"] for cell in LESSON["cells"] if cell["cell_type"] == "code"))
PUBLISHED = CELL.replace("owner/transfer-learning", "someone/lessons")
SETUP = "def setup(*chosen):\n    print('set up in', __file__, chosen)\n"  # without TensorFlow, to be quick


def git(*arguments, cwd=None) -> None:
    subprocess.run(["git", *map(str, arguments)], cwd=cwd, check=True, capture_output=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A git server on this machine with a repository like ours; the address that git is to take instead."""
    base = tmp_path_factory.mktemp("server")
    work = base / "work"
    (work / "notebooks" / "transfer").mkdir(parents=True)
    (work / "notebooks" / "transfer" / "__init__.py").write_text(SETUP)
    git("init", "--quiet", work)
    git("add", ".", cwd=work)
    git("-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-qm", "x", cwd=work)
    git("clone", "--quiet", "--bare", work, base / "someone" / "lessons")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    daemon = subprocess.Popen(["git", "daemon", "--listen=127.0.0.1", f"--port={port}", "--export-all",
                               f"--base-path={base}", str(base)], stderr=subprocess.DEVNULL)
    while True:
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                break
        assert daemon.poll() is None
        time.sleep(0.05)
    yield f"git://127.0.0.1:{port}/"
    daemon.terminate()
    daemon.wait()


def run(cell: str, cwd, instead: str, times: int = 1) -> subprocess.CompletedProcess:
    """The cell as a kernel would run it that was started in `cwd`, one or more times."""
    program = f"import os\nfor _ in range({times}):\n    exec({cell!r})\nprint('now in', os.getcwd())"
    settings = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.{instead}.insteadOf",
                "GIT_CONFIG_VALUE_0": "https://github.com/", "GIT_TERMINAL_PROMPT": "0"}
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | settings
    return subprocess.run([sys.executable, "-c", program], cwd=cwd, env=environment, text=True,
                          capture_output=True, timeout=60)


@pytest.fixture
def clone(tmp_path):
    """A repository on disk that looks like ours to the cell."""
    for folder in ("notebooks/transfer", "scripts"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "notebooks" / "transfer" / "__init__.py").write_text(SETUP)
    return tmp_path


@pytest.mark.parametrize("cwd", [".", "notebooks", "scripts"])
def test_in_a_clone_it_finds_the_helper_from_anywhere_and_twice(clone, cwd):
    done = run(CELL, clone / cwd, "git://127.0.0.1:1/", times=2)  # port 1: whoever fetches, fails
    assert done.returncode == 0, done.stderr
    assert f"now in {clone / 'notebooks'}" in done.stdout and done.stdout.count("set up in") == 2


def test_alone_it_fetches_the_rest_once(tmp_path, server):
    done = run(PUBLISHED, tmp_path, server, times=2)
    assert done.returncode == 0, done.stderr
    assert f"now in {tmp_path / 'tutorial' / 'notebooks'}" in done.stdout
    again = run(PUBLISHED, tmp_path, "git://127.0.0.1:1/")  # a new kernel, and no network any more
    assert again.returncode == 0, again.stderr


def test_a_folder_of_that_name_does_not_hide_the_helper(tmp_path, server):
    """What an earlier version kept on Google Drive was called so, and people work in MyDrive."""
    (tmp_path / "transfer" / "features").mkdir(parents=True)
    done = run(PUBLISHED, tmp_path, server)
    assert done.returncode == 0 and "tutorial/notebooks/transfer/__init__.py" in done.stdout, done.stderr


def sentence(done: subprocess.CompletedProcess) -> str:
    assert done.returncode == 1 and "Traceback" not in done.stderr
    return done.stderr.strip()


def test_without_a_network_it_says_so(tmp_path):
    said = sentence(run(PUBLISHED, tmp_path, "git://127.0.0.1:1/"))
    assert "Is there internet? On Kaggle" in said and "someone/lessons" in said
    assert not (tmp_path / "tutorial").exists()


def test_a_name_that_does_not_resolve_is_gits_own_word(tmp_path):
    assert "git says: " in sentence(run(PUBLISHED, tmp_path, "http://nowhere.invalid/"))


def test_a_folder_in_the_way_is_named(tmp_path, server):
    (tmp_path / "tutorial").mkdir()
    (tmp_path / "tutorial" / "mine.txt").touch()
    assert "'tutorial' already exists" in sentence(run(PUBLISHED, tmp_path, server))


def test_a_copy_without_its_address_says_what_to_do(tmp_path):
    said = sentence(run(CELL.replace(CELL[CELL.index("github.com/") + 11:CELL.index('"\nplaces')],
                                     "owner/transfer-learning"), tmp_path, "git://127.0.0.1:1/"))
    assert "make repository" in said and "\n" not in said


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_make_repository_takes_the_address_that_git_knows(tmp_path):
    """On a copy of the repository's places, with the script itself."""
    for path in [*ROOT.glob("README*.md"), *ROOT.glob("notebooks/*.ipynb"), ROOT / "Makefile",
                 ROOT / "notebooks/transfer/__init__.py", ROOT / "scripts/set_repository.py"]:
        (tmp_path / path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / path.relative_to(ROOT))

    def make() -> subprocess.CompletedProcess:
        return subprocess.run(["make", "repository"], cwd=tmp_path, capture_output=True, text=True)

    git("init", "--quiet", tmp_path)
    failed = make()
    assert failed.returncode and "git's origin is not set" in failed.stderr and "REPO=" in failed.stderr
    for number, address in enumerate(["https://github.com/some-one/the.lessons.git",
                                      "git@github.com:other/lessons.git", "https://github.com/third/x/"]):
        git("remote", "add" if not number else "set-url", "origin", address, cwd=tmp_path)
        assert make().returncode == 0
        cell = (tmp_path / "notebooks" / "05_evaluation.ipynb").read_text(encoding="utf-8")
        name = address.split("github.com")[1].strip(":/").removesuffix(".git")
        assert f"https://github.com/{name}\\\"" in cell and f"github/{name}/blob/main" in cell
    git("remote", "set-url", "origin", "https://gitlab.com/some/one", cwd=tmp_path)
    assert "gitlab.com" in make().stderr


NO_TENSORFLOW = """
import sys
{block}
sys.path.insert(0, {notebooks!r})
import transfer
transfer.setup()
"""


@pytest.mark.parametrize("block, said", [
    ("sys.modules['tensorflow'] = None", "There is no tensorflow here. On Colab, choose a runtime"),
    ("sys.modules['keras'] = None; import types; sys.modules['tensorflow'] = types.ModuleType('tensorflow')",
     "There is no keras here")])
def test_a_runtime_without_tensorflow_gets_one_sentence(block, said):
    """As Colab's TPU runtimes."""
    done = subprocess.run([sys.executable, "-c", NO_TENSORFLOW.format(
        block=block, notebooks=str(ROOT / "notebooks"))], capture_output=True, text=True)
    assert said in sentence(done) and "\n" not in sentence(done)


def test_keras_on_another_backend_is_said():
    block = ("import types\nfor name in ('tensorflow', 'keras'):\n"
             "    sys.modules[name] = types.ModuleType(name)\n"
             "sys.modules['keras'].backend = types.SimpleNamespace(backend=lambda: 'jax')")
    done = subprocess.run([sys.executable, "-c", NO_TENSORFLOW.format(
        block=block, notebooks=str(ROOT / "notebooks"))], capture_output=True, text=True)
    assert "Keras runs on jax here" in sentence(done) and "KERAS_BACKEND" in sentence(done)
