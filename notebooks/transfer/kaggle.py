"""Animals-10 from Kaggle, which needs no account for it (lesson 01).

Colab and Kaggle have copies of their own, which Kaggle's package finds; elsewhere Kaggle's command gets it.
"""

import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from .downloads import NO_NETWORK, check_download

KAGGLE_NAME = "alessiocorrado99/animals10"
BY_HAND = f"Or download {KAGGLE_NAME} in a browser, unpack it and set TRANSFER_DATASET to its raw-img."


def download(folder: Path) -> Path:
    """Animals-10 as a .zip in `folder`, or as a folder that holds raw-img.

    Raises:
        RuntimeError: it failed; the message says what to do.
    """
    if _hosted() and importlib.util.find_spec("kagglehub"):
        try:
            return _kagglehub(folder)
        except Exception as error:  # whatever is wrong with it, there is another way
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            print(f"kagglehub failed ({said}); trying the kaggle command", flush=True)
    return _kaggle_command(folder)


def _hosted() -> bool:
    """Whether this is Colab or Kaggle, which have copies of their own."""
    try:
        import google.colab  # noqa: F401
        return True
    except ImportError:
        return "KAGGLE_KERNEL_RUN_TYPE" in os.environ or Path("/kaggle").is_dir()


def _kagglehub(folder: Path) -> Path:
    """The folder that holds raw-img: Kaggle's or Colab's own copy, or a download below `folder`."""
    import kagglehub

    cache = folder / "kagglehub"
    own = os.environ.setdefault("KAGGLEHUB_CACHE", str(cache)) == str(cache)
    try:
        found = Path(kagglehub.dataset_download(KAGGLE_NAME))
        check_download(found / "raw-img", "animals10", remove=found)
        return found
    except OSError:  # the network: what has come is continued the next time
        raise
    except Exception:
        shutil.rmtree(cache, ignore_errors=True)  # damaged, and it would be taken for whole again
        raise
    finally:
        if own:
            del os.environ["KAGGLEHUB_CACHE"]


def _kaggle_command(folder: Path) -> Path:
    """Kaggle's own command: needs no account for a public data set, and goes on where it stopped."""
    own = Path(sys.executable).with_name("kaggle")
    command = str(own) if own.exists() else shutil.which("kaggle")
    if command is None:
        raise RuntimeError(f"the command kaggle is missing: `pip install -U kaggle`. {BY_HAND}")
    secret = {} if os.environ.get("KAGGLE_API_TOKEN") else _colab_secret()
    status, said = _run([command, "datasets", "download", KAGGLE_NAME, "--path", str(folder)],
                        {**os.environ, **secret})
    archive = folder / (KAGGLE_NAME.split("/")[1] + ".zip")
    if status != 0 or not archive.exists():
        raise RuntimeError(f"Kaggle's download failed (its message is above): "
                           f"{_why(command, said, bool(secret))} {BY_HAND}")
    return archive


def _run(command: list[str], environment: dict) -> tuple[int, str]:
    """Run it and show what it says while it runs; it does not outlive this call."""
    said = ""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               encoding="utf-8", errors="replace", env=environment)
    try:
        while piece := process.stdout.read(64):
            print(piece, end="", flush=True)  # Kaggle's progress bar, in the notebook as well
            said = (said + piece)[-20_000:]
        return process.wait(), said
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.stdout.close()


def _colab_secret() -> dict[str, str]:
    """Colab's secret as an environment variable: it reaches the kernel only, not a command."""
    try:
        from google.colab import userdata

        token = userdata.get("KAGGLE_API_TOKEN")
    except Exception:  # no Colab, no such secret, not allowed, or nobody answered
        return {}
    return {"KAGGLE_API_TOKEN": token.strip()} if token and token.strip() else {}


def _why(command: str, said: str, secret: bool) -> str:
    """What to do about what Kaggle's command said."""
    if _version(command) < (1, 8) or "KeyError: 'username'" in said or "Could not find kaggle.json" in said:
        return f"{command} is too old to work without an account: `pip install -U kaggle`, and try again."
    if "No space left" in said or "quota exceeded" in said:
        return "the disk is full: make room, or let TRANSFER_HOME name a folder on another disk."
    tokens = _tokens(secret)
    if tokens and re.search(r"\b40[13]\b|[Uu]nauth|[Ff]orbidden", said):
        return ("no account is needed, but Kaggle refuses a token that it found here. Remove it or make a "
                f"new one: {'; '.join(tokens)}. Then run the cell again.")
    if re.search(r"ConnectionError|Max retries|resolve|NewConnection|ProxyError|CERTIFICATE|timed out", said):
        return NO_NETWORK + "."
    return ("no account is needed, so first try again, or `pip install -U kaggle`. If Kaggle asks you to "
            "sign in: make a token at https://www.kaggle.com/settings, put it into the variable "
            "KAGGLE_API_TOKEN (on Colab a secret of that name) or the file ~/.kaggle/access_token, and run "
            "the cell again.")


def _version(command: str) -> tuple[int, ...]:
    """(major, minor) of Kaggle's command; where it does not say, a new one is assumed."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=60).stdout
        if found := re.search(r"(\d+)\.(\d+)", said):
            return int(found[1]), int(found[2])
    return 99, 0


def _tokens(secret: bool) -> list[str]:
    """Where Kaggle's command finds a token, in words; `secret` if one was handed to it from Colab."""
    names = ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY")
    folders = [os.environ.get("KAGGLE_CONFIG_DIR"), "~/.kaggle",
               Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config", "kaggle")]
    files = [Path(folder, name).expanduser() for folder in folders if folder
             for name in ("access_token", "access_token.txt", "kaggle.json", "credentials.json")]
    return (["the Colab secret KAGGLE_API_TOKEN"] * secret
            + [f"the environment variable {name}" for name in names if os.environ.get(name)]
            + [f"the file {file}" for file in dict.fromkeys(files) if file.exists()])
