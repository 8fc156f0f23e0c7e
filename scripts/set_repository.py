"""Write the published address of the repository into badges and set-up cells.

    python scripts/set_repository.py owner/name

The one constant is REPOSITORY in notebooks/transfer/__init__.py; a test finds any place that
disagrees with it.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONSTANT = ROOT / "notebooks" / "transfer" / "__init__.py"


def places() -> list[Path]:
    """Every file that may hold the address."""
    return [CONSTANT, *sorted(ROOT.glob("README*.md")), *sorted(ROOT.glob("notebooks/*.ipynb"))]


def current() -> str:
    """The address in force."""
    return re.search(r'^REPOSITORY = "([^"]+)"', CONSTANT.read_text(encoding="utf-8"), re.M)[1]


def main() -> None:
    if len(sys.argv) != 2 or not re.fullmatch(r"[\w.-]+/[\w.-]+", sys.argv[1]):
        sys.exit("usage: make repository REPO=owner/name")
    old, new = current(), sys.argv[1]
    for path in places():
        text = path.read_text(encoding="utf-8")
        if old in text:
            path.write_text(text.replace(old, new), encoding="utf-8")
            print(f"{path.relative_to(ROOT)}: {old} -> {new}")


if __name__ == "__main__":
    main()
