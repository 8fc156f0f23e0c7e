"""Downloads from servers on this machine: by Kaggle's own two clients, and from Microsoft."""

import errno
import functools
import io
import os
import shutil
import signal
import socket
import ssl
import sys
import threading
import types
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import trustme
from conftest import picture
from filelock import FileLock
from transfer import datasets, downloads
from transfer import files as whole_files
from transfer import kaggle as client

ITALIAN = ["cane", "cavallo", "elefante", "farfalla", "gallina", "gatto", "mucca", "pecora", "ragno",
           "scoiattolo"]
SMALL = {"bytes": (1e4, 1e8)}


def running(server):
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


class Kaggle(BaseHTTPRequestHandler):
    """Answers as api.kaggle.com does, through a proxy that the real client is told to use."""

    protocol_version = "HTTP/1.1"

    def do_CONNECT(self):
        self.send_response(200)
        self.end_headers()
        self.connection = self.server.certificate.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")
        self.close_connection = False

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.status != 200:
            self.answer(b'{"code": 401, "message": "Unauthenticated"}', "application/json",
                        self.server.status)
        elif self.path.endswith("/GetDataset"):  # asked by kagglehub
            self.answer(b'{"ref": "a/animals10", "currentVersionNumber": 2}', "application/json")
        elif "Metadata" in self.path:  # asked by the command
            self.answer(b'{"info": {"title": "Animals-10", "ownerUser": "a", "datasetSlug": '
                        b'"animals10", "licenses": [{"name": "GPL-2"}]}}', "application/json")
        else:  # the data themselves lie elsewhere, as on Kaggle
            self.send_response(302)
            self.send_header("Location", "https://storage.googleapis.com/archive.zip")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def do_GET(self):
        content = self.server.archive
        wanted = self.headers.get("Range", "bytes=0-")
        start = int(wanted.split("=")[1].split("-")[0])
        self.server.ranges.append(start)
        self.send_response(206 if start else 200)
        for name, value in {"Content-Type": "application/zip", "Content-Length": len(content) - start,
                            "Accept-Ranges": "bytes", "ETag": '"one"',
                            "Last-Modified": "Mon, 02 Nov 2026 10:00:00 GMT"}.items():
            self.send_header(name, str(value))
        self.end_headers()
        stop = self.server.cuts.pop(0) if self.server.cuts else len(content)
        self.wfile.write(content[start:stop])
        self.wfile.flush()
        if stop < len(content):
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

    def answer(self, content, kind, status=200):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def log_message(self, *_):
        pass


@functools.cache
def archive(*classes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as content:
        content.writestr("translate.py", bytes(3_000_000))  # Kaggle's client writes 1 MiB at a time
        for name in classes:
            for number in range(3):
                image = io.BytesIO()
                picture(number, (40, 40)).save(image, "png")
                content.writestr(f"raw-img/{name}/{number}.png", image.getvalue())
    return buffer.getvalue()


@pytest.fixture
def kaggle(home, tmp_path, monkeypatch):
    """A server on the loopback, and an environment in which the real client ends up there."""
    authority = trustme.CA()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Kaggle)
    server.certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("api.kaggle.com", "storage.googleapis.com").configure_cert(server.certificate)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    server.archive, server.status, server.cuts, server.ranges = archive(*ITALIAN), 200, [], []
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
    monkeypatch.setitem(datasets.DOWNLOADS, "animals10", SMALL | {"classes": 10, "files": (30, 30)})
    yield from running(server)


def test_kaggles_client_downloads_without_an_account(kaggle, home, capsys):
    photographs = datasets.load("animals10")
    assert len(photographs) == 30 and list(photographs.class_folders) == ITALIAN
    assert photographs.root == home / "downloads" / "animals10"
    assert os.listdir(home / "downloads") == ["animals10"]
    assert "100%" in capsys.readouterr().out, "Kaggle's progress bar reaches the notebook"
    asked = len(kaggle.ranges)
    assert len(datasets.load("animals10")) == 30 and len(kaggle.ranges) == asked


def test_a_cut_connection_is_taken_up_where_it_broke(kaggle, home):
    kaggle.cuts = [2_500_000]
    assert len(datasets.load("animals10")) == 30
    assert any(start > 0 for start in kaggle.ranges)


def test_an_incomplete_data_set_is_not_taken_for_a_whole_one(kaggle, home):
    kaggle.archive = archive(*ITALIAN[:9])
    with pytest.raises(ValueError, match="not whole: 9 classes, expected 10"):
        datasets.load("animals10")
    assert not (home / "downloads" / "animals10").exists()
    kaggle.archive = archive(*ITALIAN)
    for file in (home / "downloads" / "animals10.partial").glob("*.zip"):
        file.unlink()
    assert len(datasets.load("animals10")) == 30


def test_a_damaged_archive_is_said_and_fetched_anew(kaggle, home):
    whole, kaggle.archive = kaggle.archive, b"not a zip file" * 1000
    with pytest.raises(ValueError, match="animals10.zip was damaged.*run the cell again"):
        datasets.load("animals10")
    kaggle.archive = whole
    assert len(datasets.load("animals10")) == 30


def test_where_kaggle_wants_a_token_the_message_says_how(kaggle, home):
    kaggle.status = 401
    with pytest.raises(RuntimeError, match="KAGGLE_API_TOKEN.*access_token"):
        datasets.load("animals10")
    assert not (home / "downloads" / "animals10").exists()


def damaged(content: bytes, how: str) -> bytes:
    """The archive with damage that only unpacking notices, each kind raising another exception."""
    data = bytearray(content)
    central = data.index(b"PK\1\2")
    if how == "a byte":
        data[central // 2] ^= 0xFF
    elif how == "encrypted":
        data[6] |= 1
        data[central + 8] |= 1
    else:
        data[8] = data[central + 10] = 9  # Deflate64
    return bytes(data)


@pytest.mark.parametrize("how", ["a byte", "encrypted", "method"])
def test_an_archive_damaged_inside_is_deleted_and_fetched_anew(home, monkeypatch, how):
    monkeypatch.setitem(datasets.DOWNLOADS, "animals10", SMALL | {"classes": 10, "files": (30, 30)})
    whole, served = archive(*ITALIAN), []

    def download(folder):
        path = folder / "animals10.zip"
        if not path.exists():  # as Kaggle's client does
            path.write_bytes(served.pop(0))
        return path

    monkeypatch.setattr(client, "download", download)
    served += [damaged(whole, how), whole]
    with pytest.raises(ValueError, match="animals10.zip was damaged.*run the cell again"):
        datasets.load("animals10")
    assert len(datasets.load("animals10")) == 30 and not served


def test_a_deflate_stream_that_is_broken_is_damage(home, tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as content:
        content.writestr("PetImages/Cat/0.png", b"abc" * 9000)
    data = bytearray(path.read_bytes())
    data[51] ^= 0xFF  # in the first block: zlib.error, which is no BadZipFile
    path.write_bytes(data)
    with pytest.raises(ValueError, match="was damaged and is deleted"):
        downloads._unzipped(path, tmp_path / "out")
    assert not path.exists()


def test_a_final_folder_that_is_not_whole_is_said(home, monkeypatch):
    monkeypatch.setitem(datasets.DOWNLOADS, "cats_vs_dogs", SMALL | {"classes": 2, "files": (6, 6)})
    final = home / "downloads" / "cats_vs_dogs"
    for name in ("Cat/0.jpg", "Cat/1.jpg", "Cat/2.jpg", "Dog/0.jpg", "Dog/1.jpg"):
        (final / name).parent.mkdir(parents=True, exist_ok=True)
        (final / name).touch()
    with pytest.raises(ValueError, match=f"not whole: 5 files, expected 6 to 6. Delete {final} and run"):
        datasets.load("cats_vs_dogs")


# Kaggle's command, played by a script where only its surroundings matter.

ENVIRONMENT = ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR", "XDG_CONFIG_HOME",
               "KAGGLE_KERNEL_RUN_TYPE", "KAGGLEHUB_CACHE")


@pytest.fixture
def command(home, tmp_path, monkeypatch):
    """Puts a script in the place of the environment's own `kaggle`; HOME is empty."""
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setitem(datasets.DOWNLOADS, "animals10", SMALL | {"classes": 10, "files": (30, 30)})
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))

    def write(script: str, version="Kaggle CLI 2.0.2", folder="bin"):
        path = tmp_path / folder / "kaggle"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "{version}" && exit\n{script}\n')
        path.chmod(0o755)
    return write


def failure() -> str:
    with pytest.raises(RuntimeError) as error:
        datasets.load("animals10")
    return str(error.value)


@pytest.fixture
def colab(monkeypatch):
    """A runtime that looks like Colab's, without kagglehub; `secrets` are what it holds."""
    secrets, userdata = {}, types.ModuleType("google.colab.userdata")

    def get(name):
        if name not in secrets:
            raise TimeoutError("nobody answered")
        return secrets[name]

    userdata.get, package = get, types.ModuleType("google.colab")
    package.userdata = userdata
    monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
    monkeypatch.setitem(sys.modules, "google.colab", package)
    monkeypatch.setitem(sys.modules, "google.colab.userdata", userdata)
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    return secrets


def test_the_environments_own_command_comes_before_any_other(command, tmp_path, monkeypatch):
    command("exit 1", version="Kaggle API 1.5.0", folder="other")
    monkeypatch.setenv("PATH", f"{tmp_path / 'other'}{os.pathsep}{os.environ['PATH']}")
    assert "1.5" not in failure() and "too old" in failure(), "the other one, where there is no own"
    (tmp_path / "served.zip").write_bytes(archive(*ITALIAN))
    command(f'cp {tmp_path}/served.zip "$5/animals10.zip"')
    assert len(datasets.load("animals10")) == 30


def test_a_missing_command_is_said(command, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert "kaggle is missing: `pip install -U kaggle`" in failure()


@pytest.mark.parametrize("script, version", [
    ("echo 401 Unauthorized; exit 1", "Kaggle API 1.7.4.5"), ("echo broken; exit 1", "Kaggle API 1.6.17"),
    ("echo \"KeyError: 'username'\"; exit 1", ""), ("echo Could not find kaggle.json; exit 1", "")])
def test_an_old_command_is_told_from_other_faults(command, script, version):
    command(script, version)
    assert "bin/kaggle is too old" in failure() and "pip install -U kaggle" in failure()


@pytest.mark.parametrize("said", ["401 Client Error: Unauthorized", "403 - Forbidden", "Unauthenticated"])
def test_a_stale_token_is_named_wherever_it_is(command, tmp_path, monkeypatch, said):
    command(f"echo '{said}'; exit 1")
    assert "refuses a token" not in failure() and "make a token" in failure()
    monkeypatch.setenv("KAGGLE_KEY", "old")
    assert "Remove it or make a new one: the environment variable KAGGLE_KEY. Then" in failure()
    monkeypatch.delenv("KAGGLE_KEY")
    (tmp_path / ".kaggle").mkdir()
    for name in ("kaggle.json", "access_token"):
        (tmp_path / ".kaggle" / name).touch()
        assert f"the file {tmp_path}/.kaggle/{name}" in failure()
    monkeypatch.setenv("KAGGLE_API_TOKEN", "old")
    assert "the environment variable KAGGLE_API_TOKEN; the file" in failure()
    command("echo 'No space left on device'; exit 1")
    assert "refuses a token" not in failure()


def test_no_network_is_said_with_the_proxy(command):
    command("echo \"ConnectionError: Max retries exceeded ... Failed to resolve 'api.kaggle.com'\"; exit 1")
    said = failure()
    assert "no connection" in said and "HTTPS_PROXY" in said and "sign" not in said


def test_colabs_secret_reaches_the_command(command, colab, tmp_path, monkeypatch):
    command(f'echo "$KAGGLE_API_TOKEN" > {tmp_path}/token; echo 401; exit 1')
    assert "make a token" in failure() and (tmp_path / "token").read_text() == "\n"
    colab["KAGGLE_API_TOKEN"] = " secret\n"
    assert "new one: the Colab secret KAGGLE_API_TOKEN" in failure()
    assert (tmp_path / "token").read_text() == "secret\n" and "KAGGLE_API_TOKEN" not in os.environ
    monkeypatch.setenv("KAGGLE_API_TOKEN", "mine")
    assert "new one: the environment variable KAGGLE_API_TOKEN" in failure()
    assert (tmp_path / "token").read_text() == "mine\n"


def test_an_interrupted_cell_does_not_leave_the_command_running(command, tmp_path, monkeypatch):
    command(f"echo $$ > {tmp_path}/pid; printf '%64s' started; exec sleep 60")

    def interrupted(*said, **_):
        if "started" in str(said):
            raise KeyboardInterrupt

    monkeypatch.setattr("builtins.print", interrupted)
    with pytest.raises(KeyboardInterrupt):
        datasets.load("animals10")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)


def test_the_second_notebook_waits_and_downloads_nothing(command, tmp_path, home, capsys, monkeypatch):
    monkeypatch.setattr(whole_files, "PATIENCE", 0.1)
    (tmp_path / "served.zip").write_bytes(archive(*ITALIAN))
    command(f'echo x >> {tmp_path}/calls; cp {tmp_path}/served.zip "$5/animals10.zip"')
    (home / "locks").mkdir(parents=True)
    lock, found = FileLock(home / "locks" / "animals10.lock"), []
    with lock:
        waiting = threading.Thread(target=lambda: found.append(datasets.load("animals10")))
        waiting.start()
        waiting.join(0.3)
        assert not found and "waiting for another" in capsys.readouterr().out
    waiting.join()
    assert len(found[0]) == len(datasets.load("animals10")) == 30
    assert (tmp_path / "calls").read_text() == "x\n"


# Kaggle's package, the real one.

@pytest.fixture
def hub(kaggle, monkeypatch):
    """As on Kaggle, with kagglehub installed; the command is not to be needed."""
    pytest.importorskip("kagglehub")
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    monkeypatch.delenv("KAGGLEHUB_CACHE", raising=False)
    monkeypatch.delenv("KAGGLE_DATA_PROXY_URL", raising=False)
    command, kaggle.no_command = client._kaggle_command, pytest.fail.Exception

    def asked(folder):
        if kaggle.no_command:
            raise kaggle.no_command("the command was asked")
        return command(folder)

    monkeypatch.setattr(client, "_kaggle_command", asked)
    return kaggle


def test_kagglehub_comes_first_where_notebooks_have_it(hub, home):
    assert len(datasets.load("animals10")) == 30
    assert os.listdir(home / "downloads") == ["animals10"] and "KAGGLEHUB_CACHE" not in os.environ
    asked = len(hub.ranges)
    assert len(datasets.load("animals10")) == 30 and len(hub.ranges) == asked


def test_kagglehub_goes_on_where_it_was_interrupted(hub, home):
    hub.cuts, hub.no_command = [2_500_000], RuntimeError
    with pytest.raises(RuntimeError, match="the command was asked"):
        datasets.load("animals10")
    assert len(datasets.load("animals10")) == 30
    assert any(start > 1_000_000 for start in hub.ranges)


def test_where_kagglehub_fails_one_line_says_so_and_the_command_is_tried(hub, home, capsys, monkeypatch):
    import kagglehub

    hub.no_command = RuntimeError
    monkeypatch.setattr(kagglehub, "dataset_download", lambda name: 1 / 0)
    with pytest.raises(RuntimeError, match="the command was asked"):
        datasets.load("animals10")
    assert "kagglehub failed (division by zero); trying the kaggle command\n" in capsys.readouterr().out


def test_a_damaged_package_download_is_not_kept(hub, home, capsys):
    whole, hub.archive, hub.no_command = hub.archive, damaged(hub.archive, "a byte"), RuntimeError
    with pytest.raises(RuntimeError, match="the command was asked"):
        datasets.load("animals10")
    assert "kagglehub failed" in capsys.readouterr().out
    hub.archive = whole
    assert len(datasets.load("animals10")) == 30 and "kagglehub failed" not in capsys.readouterr().out


def test_a_copy_that_the_notebook_mounts_is_used_where_it_is(hub, home, tmp_path, monkeypatch):
    import kagglehub

    with zipfile.ZipFile(io.BytesIO(hub.archive)) as content:
        content.extractall(tmp_path / "mounted")
    monkeypatch.setattr(kagglehub, "dataset_download", lambda name: str(tmp_path / "mounted"))
    assert datasets.load("animals10").root == tmp_path / "mounted" / "raw-img"
    assert not (home / "downloads" / "animals10").exists()


# Microsoft's file: one request, answered in parts.

class Files(BaseHTTPRequestHandler):
    """A server of one file that can cut, change it, and ignore what is asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server, content = self.server, self.server.content
        start = 0
        wanted, mark = self.headers.get("Range"), self.headers.get("If-Range")
        server.asked.append((wanted, mark))
        if wanted and server.ranged and (mark in (None, server.tag) or server.careless):
            start = int(wanted.split("=")[1].split("-")[0])
            if start >= len(content):
                self.send_response(416)
                if not server.careless:
                    self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(server.status)
        if server.sized:
            self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", server.tag)
        self.send_header("Connection", "close")
        self.end_headers()
        stop = server.cuts.pop(0) if server.cuts else len(content)
        self.wfile.write(content[start:stop])
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def files(home, tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    server.content, server.tag, server.status = os.urandom(3_000_000), '"one"', 200
    server.ranged, server.sized, server.careless, server.cuts, server.asked = True, True, False, [], []
    server.handle_error = lambda *_: None  # a client that hangs up is no fault
    server.url = f"http://127.0.0.1:{server.server_port}/x.zip"
    yield from running(server)


def fetched(files, tmp_path) -> bool:
    """Whether the file has come as it is on the server, and nothing else has been left."""
    target = downloads.fetch(files.url, tmp_path / "to" / "x.zip")
    return target.read_bytes() == files.content and os.listdir(target.parent) == ["x.zip"]


@pytest.fixture
def to(tmp_path):
    (tmp_path / "to").mkdir()
    return tmp_path / "to"


def test_a_file_comes_whole_and_once(files, to, tmp_path, capsys):
    assert fetched(files, tmp_path) and fetched(files, tmp_path) and files.asked == [(None, None)]
    assert "x.zip: 100%" in capsys.readouterr().out, "the progress bar reaches the notebook"


def test_what_was_cut_off_is_continued_in_the_same_call(files, to, tmp_path, capsys):
    files.cuts = [1_000_000, 2_000_000]
    assert fetched(files, tmp_path)
    assert files.asked == [(None, None), ("bytes=1000000-", '"one"'), ("bytes=2000000-", '"one"')]
    assert "broke after 1.0 MB; going on" in capsys.readouterr().out


def interrupted(files, to, at=1_000_000):
    """A call that has been stopped after so many bytes."""
    files.cuts = [at, at]  # the second brings nothing, so it gives up
    with pytest.raises(OSError, match=f"x.zip could not be downloaded from {files.url} .*goes on where"):
        downloads.fetch(files.url, to / "x.zip")
    assert (to / "x.zip.part").stat().st_size == at and not (to / "x.zip").exists()
    files.asked.clear()


def test_an_interrupted_call_goes_on(files, to, tmp_path):
    interrupted(files, to)
    assert fetched(files, tmp_path) and files.asked == [("bytes=1000000-", '"one"')]


@pytest.mark.parametrize("careless", [False, True])
def test_a_file_that_changed_starts_over(files, to, tmp_path, careless):
    interrupted(files, to)
    files.content, files.tag, files.careless = os.urandom(2_000_000), '"two"', careless
    assert fetched(files, tmp_path)


def test_a_server_that_knows_no_parts_starts_over(files, to, tmp_path):
    interrupted(files, to)
    files.ranged = False
    assert fetched(files, tmp_path)


def test_a_file_that_became_shorter_starts_over(files, to, tmp_path):
    interrupted(files, to)
    files.content, files.careless, files.tag = os.urandom(500_000), True, '"two"'
    assert fetched(files, tmp_path)


def test_a_file_that_is_whole_but_not_renamed_is_not_fetched_again(files, to, tmp_path):
    interrupted(files, to)
    (to / "x.zip.part").write_bytes(files.content)
    assert fetched(files, tmp_path) and files.asked == [("bytes=3000000-", '"one"')]


@pytest.mark.parametrize("tag", ["", 'W/"weak"'])
def test_without_a_mark_nothing_is_pieced_together(files, to, tmp_path, tag):
    files.tag = tag
    interrupted(files, to)
    files.content = os.urandom(3_000_000)
    assert fetched(files, tmp_path) and files.asked == [(None, None)]


def test_a_server_that_does_not_say_how_much_comes(files, to, tmp_path):
    files.sized = False
    assert fetched(files, tmp_path)


def test_refused_unreachable_and_no_room_are_one_sentence_each(files, to, tmp_path, monkeypatch):
    files.status = 503
    with pytest.raises(OSError, match="x.zip could not be downloaded.*server refuses it; try again later"):
        downloads.fetch(files.url, to / "x.zip")
    with pytest.raises(OSError, match="no connection.*HTTPS_PROXY.*Install Certificates"):
        downloads.fetch("http://127.0.0.1:9/x.zip", to / "x.zip")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(downloads, "_copy", full)
    files.status = 200
    with pytest.raises(OSError, match="No space left.*make room.*TRANSFER_HOME"):
        downloads.fetch(files.url, to / "x.zip")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EFBIG, errno.EIO])
def test_a_folder_that_cannot_be_written_is_not_called_a_network_fault(files, to, monkeypatch, number):
    def failing(*_):
        raise OSError(number, "no")

    monkeypatch.setattr(downloads, "_copy", failing)
    with pytest.raises(OSError, match="x.zip could not be downloaded.*cannot be written; let TRANSFER_HOME"):
        downloads.fetch(files.url, to / "x.zip")


def test_a_full_disk_is_not_called_a_matter_of_tokens():
    said = "OSError: [Errno 28] No space left on device"
    assert "let TRANSFER_HOME name a folder on another disk" in client._why(sys.executable, said, False)


def test_an_interrupted_cell_keeps_what_has_come(files, to, tmp_path, monkeypatch):
    class Bar(downloads.tqdm):
        def update(self, n=1):
            raise KeyboardInterrupt

    monkeypatch.setattr(downloads, "tqdm", Bar)
    with pytest.raises(KeyboardInterrupt):
        downloads.fetch(files.url, to / "x.zip")
    monkeypatch.undo()
    assert fetched(files, tmp_path) and files.asked[-1][0] not in (None, "bytes=0-")


def test_cats_and_dogs_are_fetched_unpacked_and_checked(files, home, monkeypatch):
    monkeypatch.setitem(datasets.DOWNLOADS, "cats_vs_dogs", SMALL | {"classes": 2, "files": (6, 6)})
    monkeypatch.setattr(downloads, "MICROSOFT_ZIP", files.url)
    content = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive("Cat", "Dog"))) as old, zipfile.ZipFile(content, "w") as new:
        for member in old.infolist():
            new.writestr(member.filename.replace("raw-img", "PetImages"), old.read(member))
    files.content, files.cuts = content.getvalue(), [2_000_000]
    found = datasets.load("cats_vs_dogs")
    assert found.class_folders == ("Cat", "Dog") and len(found) == 6 and len(files.asked) == 2
    assert os.listdir(home / "downloads") == ["cats_vs_dogs"]
    shutil.rmtree(home / "downloads" / "cats_vs_dogs" / "Dog")
    with pytest.raises(ValueError, match="not whole: 1 classes"):
        datasets.load("cats_vs_dogs")
