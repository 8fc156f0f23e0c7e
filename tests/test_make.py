"""`make` sets up .venv wherever it can, heals a half-made one, and otherwise says what to do."""

import os
import shutil
import subprocess
import sys

import pytest
from transfer import ROOT

# A Python that makes .venv only where `venv-works` lies; what it makes tells its pip by `pip-works`.
FAKE = f"""#!/bin/sh
echo "$@" >> calls
case "$1 $2" in
  "-m venv") rm -rf .venv; mkdir -p .venv/bin; cp python .venv/bin/python
             test -e venv-works || exit 1; touch .venv/pip-works;;
  "-m pip") test -e .venv/pip-works;;
  "-c "*) exec {sys.executable} -c "$FIRST$2";;
esac
"""


@pytest.fixture
def make(tmp_path):
    """Run `make tutorial` in a folder of its own, and say what it said."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements.txt").touch()
    (tmp_path / "python").write_text(FAKE)
    (tmp_path / "python").chmod(0o755)

    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}

    def run(first: str = "", **environment) -> tuple[int, str]:
        done = subprocess.run(["make", "tutorial", "PYTHON=./python"], cwd=tmp_path, text=True,
                              env=outside | {"FIRST": first} | environment, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        return done.returncode, done.stdout

    return run


def calls(tmp_path) -> str:
    return (tmp_path / "calls").read_text()


def test_a_python_without_venv_is_said_and_what_it_left_heals(make, tmp_path):
    status, said = make()
    assert status and "sudo apt install python3-venv" in said and "run make again" in said
    assert (tmp_path / ".venv/bin/python").exists() and not (tmp_path / ".venv/installed").exists()
    (tmp_path / "venv-works").touch()  # the package is installed now
    status, said = make()
    assert status == 0, said
    assert "-m venv --clear .venv" in calls(tmp_path) and (tmp_path / ".venv/installed").exists()


def test_a_whole_one_stays(make, tmp_path):
    (tmp_path / "venv-works").touch()
    assert make()[0] == 0
    os.utime(tmp_path / "requirements.txt")
    (tmp_path / "calls").unlink()
    os.utime(tmp_path / ".venv/installed", (0, 0))  # the list of packages is newer
    assert make()[0] == 0
    assert "-m venv" not in calls(tmp_path) and "-m pip install" in calls(tmp_path)


def test_after_another_python_took_the_systems_place_it_is_made_anew(make, tmp_path):
    (tmp_path / "venv-works").touch()
    assert make()[0] == 0
    (tmp_path / ".venv/bin/python").unlink()
    (tmp_path / ".venv/bin/python").symlink_to("/nowhere/python3.10")
    assert make()[0] == 0
    assert calls(tmp_path).count("-m venv --clear") == 2


INTEL = "import platform; platform.system = lambda: 'Darwin'; platform.machine = lambda: 'x86_64'; "


@pytest.mark.parametrize("by", ["uname", "python"])
def test_an_intel_mac_gets_one_sentence(make, tmp_path, by):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/uname").write_text("#!/bin/sh\necho Darwin x86_64\n")
    (tmp_path / "bin/uname").chmod(0o755)
    status, said = (make(PATH=f"{tmp_path}/bin:{os.environ['PATH']}") if by == "uname" else make(INTEL))
    assert status and "no packages for Macs with an Intel processor" in said and "Colab" in said
    assert "-m" not in calls(tmp_path)
    assert "Intel" not in make()[1]
