"""Write the published address of the repository into badges and set-up cells.

    python scripts/set_repository.py             # the one that `git remote get-url origin` names
    python scripts/set_repository.py owner/name

The one constant is REPOSITORY in notebooks/transfer/__init__.py; a test finds any place that
disagrees with it. It needs nothing but Python.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONSTANT = ROOT / "notebooks" / "transfer" / "__init__.py"
USAGE = "usage: make repository REPO=owner/name (as in https://github.com/owner/name)"


def places() -> list[Path]:
    """Every file that may hold the address."""
    return [CONSTANT, *sorted(ROOT.glob("README*.md")), *sorted(ROOT.glob("notebooks/*.ipynb"))]


def current() -> str:
    """The address in force."""
    found = re.search(r'^REPOSITORY = "([^"]+)"', CONSTANT.read_text(encoding="utf-8"), re.M)
    if not found:
        raise ValueError(f"{CONSTANT} has no line REPOSITORY = \"owner/name\"")
    return found[1]


def origin() -> str:
    """owner/name of the repository on GitHub from which this copy was cloned.

    Raises:
        ValueError: git knows none, or it is not on GitHub, where Colab opens notebooks from.
    """
    asked = subprocess.run(["git", "-C", str(ROOT), "remote", "get-url", "origin"],
                           capture_output=True, text=True)
    found = re.search(r"github\.com[:/]([\w.-]+/[\w.-]+?)(\.git)?/?$", asked.stdout.strip())
    if not found:
        raise ValueError(f"git's origin is {asked.stdout.strip() or 'not set'}, no repository on github.com")
    return found[1]


def main() -> None:
    try:
        write(sys.argv[1] if sys.argv[1:] else origin())
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}. {USAGE}")


def write(new: str) -> None:
    """Put owner/name in place of the address in force, everywhere."""
    if len(sys.argv) > 2 or not re.fullmatch(r"[\w.-]+/[\w.-]+", new):
        sys.exit(USAGE)
    old = current()
    for path in places():
        text = path.read_text(encoding="utf-8")
        if old in text and old != new:
            path.write_text(text.replace(old, new), encoding="utf-8")
            print(f"{path.relative_to(ROOT)}: {old} -> {new}")
    print(f"The address is {new}.")


if __name__ == "__main__":
    main()
