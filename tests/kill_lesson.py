"""Kill lesson 04 with SIGKILL in the middle of its training, run it again, compare with a whole run.

    .venv/bin/python tests/kill_lesson.py

Takes about six minutes on two cores, so it is not part of `make test`; test_fine_tuning kills a
smaller training, also while it writes.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parents[1]


def start(home: Path) -> subprocess.Popen:
    """Lesson 04 from top to bottom, with everything it keeps in `home`."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "scripts" / "run_notebooks.py"), "--only", "04",
         "--output", str(home / "pages")], env=os.environ | {"TRANSFER_HOME": str(home)})


def epochs_done(home: Path) -> list[float]:
    """The seconds of each finished epoch: one that was done again has other seconds."""
    for file in sorted(home.glob("runs/04-fine-tuned-*/epoch-*.npz"), reverse=True):
        with contextlib.suppress(FileNotFoundError), np.load(file) as arrays:  # it goes when the next comes
            return json.loads(str(arrays["note"]))["curves"]["seconds"]
    return []


def main() -> None:
    whole, killed = (Path(tempfile.mkdtemp(prefix=name)) for name in ("whole-", "killed-"))
    assert start(whole).wait() == 0
    shutil.copytree(whole / "features", killed / "features")  # to save time
    process = start(killed)
    while len(epochs_done(killed)) < 3:
        assert process.poll() is None, "the lesson ended before it could be killed"
        time.sleep(0.05)
    time.sleep(1)  # well into the fourth epoch
    for victim in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
        victim.kill()
    before = epochs_done(killed)
    print("killed; epochs done:", len(before))
    assert start(killed).wait() == 0
    after = epochs_done(killed)
    print("after the second run:", len(after))
    assert len(before) == 3 and len(after) == 5 and after[:3] == before, "no epoch was done again"
    first, second = (json.loads((home / "history" / "04-fine-tuned.json").read_text())
                     for home in (whole, killed))
    assert first.pop("seconds") > 0 and second.pop("seconds") > 0
    print("validation of the whole run  ", first["val_accuracy"], first["val_loss"])
    print("validation, killed and resumed", second["val_accuracy"], second["val_loss"])
    assert first == second
    for home in (whole, killed):
        shutil.rmtree(home)
    print("equal to the last digit")


if __name__ == "__main__":
    main()
