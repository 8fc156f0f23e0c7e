"""Google Colab's versions of what tests/colab.txt pins, from the list that Google publishes.

    python tests/colab_pins.py                    # today's, from googlecolab/backend-info
    python tests/colab_pins.py --source list.txt  # from a `pip freeze` of one's own

The weekly job of .github/workflows/ci.yml runs it, and then `make colab`. It needs nothing but Python.
"""

import argparse
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path

PINS = Path(__file__).with_name("colab.txt")
PUBLISHED = "https://raw.githubusercontent.com/googlecolab/backend-info/main/pip-freeze.txt"


def canonical(name: str) -> str:
    """A package's name as PyPI compares it: `Scikit_Learn` is `scikit-learn`."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def versions(freeze: str) -> dict[str, str]:
    """Package -> version, of the lines of a `pip freeze` that name one; others (URLs, -e) are passed over."""
    found = re.findall(r"^\s*([\w.-]+)(?:\[[^]]*\])?\s*==\s*([^\s;#]+)", freeze, re.M)
    return {canonical(name): version for name, version in found}


def pinned(pins: str, freeze: str, source: str) -> str:
    """The text of a pins file with the versions of a `pip freeze`; comments stay.

    Raises:
        ValueError: the list has no version of a package that is pinned.
    """
    published = versions(freeze)
    wanted = re.findall(r"^([\w.-]+)==", pins, re.M)
    if missing := [name for name in wanted if canonical(name) not in published]:
        raise ValueError(f"{source} names no version of {', '.join(missing)} ({len(published)} packages in "
                         "it): look whether Colab dropped it or the list has another form")
    return re.sub(r"^([\w.-]+)==\S+", lambda pin: f"{pin[1]}=={published[canonical(pin[1])]}", pins,
                  flags=re.M)


def read(source: str) -> str:
    """A file, or what lies at an address."""
    if "://" not in source:
        return Path(source).read_text(encoding="utf-8")
    with urllib.request.urlopen(source, timeout=60) as answer:
        return answer.read().decode("utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", default=PUBLISHED, help="a file or an address (default: Google's)")
    parser.add_argument("--pins", type=Path, default=PINS, help="the file to bring up to date")
    given = parser.parse_args()
    try:
        text = pinned(given.pins.read_text(encoding="utf-8"), read(given.source), given.source)
    except (OSError, ValueError) as error:  # urllib's errors are OSErrors; a bad address is a ValueError
        reached = f"{given.source} could not be read: " if isinstance(error, OSError) else ""
        sys.exit(f"error: {reached}{error}")
    given.pins.write_text(text, encoding="utf-8")
    print("\n".join(line for line in text.splitlines() if "==" in line))


if __name__ == "__main__":
    main()
