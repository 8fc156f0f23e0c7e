"""A store of rows gives back what was put into it, or says that it cannot; without TensorFlow."""

import functools
import hashlib
import multiprocessing
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from transfer import ROOT, store

KEYS = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(120)]


@functools.cache
def rows(values: int = 40) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(120, values)).astype("float16")


def opened(values: int = 40) -> store.Store:
    return store.Store({"network": "a/b: ü", "layer": "c" * 300}, (values,))


def fill(kept: store.Store, which=range(120), values: int = 40) -> None:
    for number in which:
        kept.append([KEYS[number]], rows(values)[number:number + 1])
    kept.commit()


def check(kept: store.Store, found: dict[str, int], values: int = 40) -> None:
    """Each row that is found is the true one."""
    got = dict(kept.read({number: key for key, number in found.items()}))
    for key, number in found.items():
        assert np.array_equal(got[number], rows(values)[KEYS.index(key)])


def test_whole_batches_are_found_in_whatever_order(home):
    kept = opened()
    assert kept.find(KEYS) == {} and kept.find([]) == {} and not kept.file.exists()
    fill(kept, range(0, 60))
    assert kept.find(KEYS) == {}  # all or nothing
    found = opened().find([*KEYS[59::-1], *KEYS[:5]])
    assert found.keys() == set(KEYS[:60])
    check(kept, found)
    fill(kept, range(119, 30, -1))  # some of them once more
    check(kept, kept.find(KEYS))


@pytest.mark.parametrize("values", [8, 2_000])
def test_a_damaged_file_never_gives_a_wrong_row(home, values):
    """One bit or 64 bytes anywhere, and in what SQLite goes by; afterwards it is as good as before."""
    kept, random = opened(values), np.random.default_rng(0)
    fill(kept, values=values)
    kept.close()
    good, again = kept.file.read_bytes(), 0
    for trial in range(40):
        content = bytearray(good)
        page = int(random.integers(len(content) // store.PAGE_BYTES)) * store.PAGE_BYTES
        place = int(random.integers(len(content)) if trial % 3 else page + random.integers(100))
        if trial % 2:
            content[place:place + 64] = random.bytes(len(content[place:place + 64]))
        else:
            content[place] ^= 1 << int(random.integers(8))
        kept.file.write_bytes(content)
        damaged = opened(values)
        check(damaged, damaged.find(KEYS), values)
        for _ in range(4):
            if len(damaged.find(KEYS)) == len(KEYS):
                break
            there = damaged.mend(KEYS)
            check(damaged, there, values)
            fill(damaged, [number for number, key in enumerate(KEYS) if key not in there], values)
            again += 1
        check(damaged, damaged.find(KEYS), values)
        assert len(damaged.find(KEYS)) == len(KEYS), place
        damaged.close()
    assert again > 5


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0", b"<html>no</html>" * 999, "half", "twice"])
def test_another_content_is_set_aside_and_said(home, capsys, content):
    kept = opened()
    fill(kept)
    kept.close()
    whole = kept.file.read_bytes()
    changed = {"half": whole[:len(whole) // 2], "twice": whole[:9_000] * 2}.get(content, content)
    kept.file.write_bytes(changed)
    kept.file.with_name("rows.sqlite-journal").write_bytes(b"of something else")
    assert kept.find(KEYS) == {} == kept.mend(KEYS)
    if content:
        assert str(kept.file) in capsys.readouterr().out
        assert kept.file.with_name("rows.sqlite.damaged").read_bytes() == changed
    fill(kept)
    check(opened(), opened().find(KEYS))


def test_a_folder_in_its_place_is_set_aside(home):
    kept = opened()
    kept.file.mkdir()
    assert kept.mend(KEYS) == {}
    fill(kept)
    assert len(kept.find(KEYS)) == 120


def test_a_row_under_another_key_is_noticed(home, capsys):
    """What the earlier store did after a flipped newline: every later row moved by one."""
    kept = opened()
    fill(kept)
    with sqlite3.connect(kept.file) as direct:
        content = direct.execute("SELECT crc, row FROM rows ORDER BY id").fetchall()
        direct.executemany("UPDATE rows SET crc = ?, row = ? WHERE id = ?",
                           [(*content[number], number + 2) for number in range(60, 119)])
    direct.close()
    there = kept.mend(KEYS)
    assert len(there) == 61 and "59 stored rows" in capsys.readouterr().out
    check(kept, there)


def test_what_vanished_after_the_look_through_is_an_error(home):
    kept = opened()
    fill(kept)
    found = kept.find(KEYS)
    kept._remove([found[KEYS[3]]])
    with pytest.raises(OSError, match="rows.sqlite was damaged or replaced.*run the cell"):
        check(kept, found)


KILLED = """
import sys
sys.path[:0] = [{notebooks!r}, {tests!r}]
import test_store as t
kept, done = t.opened(20_000), 0
while True:
    for number in range(done, min(done + 8, 120)):
        kept.append([t.KEYS[number]], t.rows(20_000)[number:number + 1])
    kept.commit()
    done = (done + 8) % 120
    print(done, flush=True)
"""


def test_a_kill_leaves_whole_batches(home):
    """SIGKILL at three moments, mostly while it writes; batches that were reported are there."""
    program = KILLED.format(notebooks=str(ROOT / "notebooks"), tests=str(Path(__file__).parent))
    for moment in (2, 5, 9):
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        done = max(int(process.stdout.readline()) for _ in range(moment))
        threading.Event().wait(moment / 1000)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        kept = opened(20_000)
        found = kept.mend(KEYS)
        assert found.keys() >= set(KEYS[:done])
        check(kept, found, 20_000)


def test_the_journal_of_a_kill_is_followed(home, tmp_path):
    """A copy made in the middle of a batch, when half of it stands in the file: as a kill leaves it."""
    kept = opened(5_000)
    fill(kept, range(0, 60), 5_000)
    kept.close()
    direct = sqlite3.connect(kept.file, isolation_level=None)
    direct.execute("PRAGMA cache_size = 5")
    direct.execute("BEGIN")
    direct.execute("UPDATE rows SET row = zeroblob(10000)")
    copy = shutil.copytree(kept.folder, tmp_path / "copy")
    direct.execute("ROLLBACK")
    direct.close()
    assert (copy / "rows.sqlite-journal").stat().st_size > 1_000
    shutil.rmtree(kept.folder)
    shutil.copytree(copy, kept.folder)
    found = opened(5_000).find(KEYS[:60])
    assert len(found) == 60
    check(kept, found, 5_000)


def test_threads_read_the_same_store(home):
    kept, wrong = opened(), []
    fill(kept)
    found = kept.find(KEYS)

    def some(seed: int) -> None:
        for _ in range(30):
            picked = np.random.default_rng(seed).permutation(KEYS)[:10].tolist()
            try:
                check(kept, {key: found[key] for key in picked})
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=some, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_store_that_another_program_sets_aside_is_not_written_to(home):
    first, second = opened(), opened()
    fill(first)
    second.find(KEYS)
    first._set_aside()
    second.mend(KEYS)  # as soon as it holds the lock
    fill(second)
    assert len(first.find(KEYS)) == 120


def test_a_disk_that_cannot_be_written_is_named(home):
    """Here a limit on the size of files makes SQLite say "disk I/O error"."""
    kept = opened(5_000)
    fill(kept, range(10), 5_000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (kept.file.stat().st_size + 30_000, limits[1]))
        with pytest.raises(OSError, match="rows.sqlite: .*network drives.*TRANSFER_HOME"):
            fill(kept, range(10, 60), 5_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    check(kept, kept.find(KEYS[:10]), 5_000)
    fill(kept, values=5_000)


def test_a_store_that_stays_locked_is_named(home, monkeypatch):
    monkeypatch.setattr(store, "SECONDS_BUSY", 0.1)
    fill(opened())
    direct = sqlite3.connect(opened().file, isolation_level=None)
    direct.execute("BEGIN EXCLUSIVE")
    for use in (lambda kept: kept.find(KEYS), lambda kept: kept.mend(KEYS), fill):
        with pytest.raises(OSError, match="rows.sqlite: database is locked.*TRANSFER_HOME"):
            use(opened())
    direct.execute("ROLLBACK")
    direct.close()
    assert len(opened().mend(KEYS)) == 120


def test_a_folder_that_may_only_be_read_is_read(home, monkeypatch):
    """A teacher's, or /kaggle/input: nothing is written and nothing locked where all is there."""
    fill(opened())
    opened().close()
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}

    def no(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(store.files, "new_whole", no)
    monkeypatch.setattr(store.files, "alone", no)
    kept = opened()
    check(kept, kept.find(KEYS))
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before
    monkeypatch.undo()
    monkeypatch.setenv("TRANSFER_HOME", str(home))
    monkeypatch.setattr(Path, "mkdir", no)
    with pytest.raises(OSError, match="Permission denied. Set TRANSFER_HOME .now .*/home.*/features"):
        store.Store({"network": "x", "layer": "y"}, (4,))


def fill_in_turn(first: int) -> None:
    """Every second row, then some of the other's, with a commit after each."""
    kept = opened()
    for number in [*range(first, 40, 2), *range(1 - first, 10, 2)]:
        fill(kept, [number])


def test_two_processes_write_to_one_store(home):
    processes = [multiprocessing.get_context("spawn").Process(target=fill_in_turn, args=(first,))
                 for first in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    found = opened().find(KEYS[:40])
    assert len(found) == 40
    check(opened(), found)


def test_rows_of_another_shape_are_refused(home):
    for wrong in (rows()[:1, :20], rows()[:2], rows()[:1].astype("float32")):
        with pytest.raises(ValueError, match="expected, not"):
            opened().append(KEYS[:1], wrong)
