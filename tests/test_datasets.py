"""Choosing a data set, and Kaggle's own client downloading one from a server on this machine."""

import io
import os
import socket
import ssl
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import transfer
import trustme
from conftest import picture
from transfer import ROOT, datasets

ITALIAN = ["cane", "cavallo", "elefante", "farfalla", "gallina", "gatto", "mucca", "pecora", "ragno",
           "scoiattolo"]


def test_mini_is_found_with_its_groups_and_both_languages():
    photographs = datasets.load("mini")
    assert list(photographs.class_folders) == ITALIAN and len(photographs) == 200
    assert len(set(photographs.groups)) < len(photographs)
    assert photographs.class_names[:3] == ["dog", "horse", "elephant"]
    transfer.setup("pt-BR")
    assert photographs.class_names[:3] == ["cachorro", "cavalo", "elefante"]
    transfer.setup("en")


def test_few_draws_as_many_of_each_class_and_the_five_are_among_the_ten():
    photographs = datasets.load("mini")
    five, ten = photographs.few(5, seed=1), photographs.few(10, seed=1)
    assert np.bincount(five.labels).tolist() == 10 * [5] and np.bincount(ten.labels).tolist() == 10 * [10]
    assert set(five.files) < set(ten.files) and list(ten.files) == sorted(ten.files)
    assert set(five.files) != set(photographs.few(5, seed=2).files)
    assert len(photographs.few(1000)) == 200


def test_a_relative_folder_is_meant_from_the_root(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert len(datasets.load("data/mini")) == 200
    assert datasets.load("data/mini").root == ROOT / "data" / "mini"


def test_labels_follow_the_folders_and_a_part_keeps_them(folder):
    photographs = datasets.from_folder(folder, "x")
    part = photographs.select([30, 1])
    assert [file.split("/")[0] for file in part.files] == ["class2", "class0"]
    assert list(part.labels) == [2, 0] and part.class_folders == photographs.class_folders


def test_a_missing_or_flat_folder_is_explained(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.*TRANSFER_DATASET takes"):
        datasets.load(str(tmp_path / "nowhere"))
    (tmp_path / "only").mkdir()
    picture(0).save(tmp_path / "only" / "a.jpg")
    with pytest.raises(FileNotFoundError, match="at least two folders.*only"):
        datasets.load(str(tmp_path))


def test_an_unknown_language_is_refused():
    with pytest.raises(ValueError, match="pt-BR"):
        transfer.setup("pt")


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
        elif "Metadata" in self.path:
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


def archive(classes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as content:
        content.writestr("translate.py", bytes(3_000_000))  # Kaggle's client writes 1 MiB at a time
        for name in classes:
            for number in range(3):
                image = io.BytesIO()
                picture(number, (300, 300)).save(image, "png")
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
    server.archive, server.status, server.cuts, server.ranges = archive(ITALIAN), 200, [], []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
    monkeypatch.setitem(datasets.DOWNLOADS, "animals10",
                        {"classes": 10, "files": (30, 30), "bytes": (1e5, 1e8)})
    yield server
    server.shutdown()
    server.server_close()


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
    kaggle.archive = archive(ITALIAN[:9])
    with pytest.raises(ValueError, match="not whole: 9 classes, expected 10"):
        datasets.load("animals10")
    assert not (home / "downloads" / "animals10").exists()
    kaggle.archive = archive(ITALIAN)
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


def test_a_folder_for_loaders_holds_every_photograph_and_no_stranger(home, folder):
    (folder / "class0" / "00.png").write_bytes((folder / "class1" / "05.jpg").read_bytes())
    photographs = datasets.from_folder(folder, "x")
    made = datasets.as_folder(photographs, home / "made")
    assert len(list(made.glob("*/*"))) == len(photographs) == 37
    kept = photographs.only(["class0", "class1"])
    datasets.as_folder(kept, made)
    assert sorted(path.name for path in made.iterdir()) == ["class0", "class1"]
    found = sorted(path.relative_to(made).as_posix() for path in made.glob("*/*"))
    assert found == [f"{file}.png" for file in kept.files]
