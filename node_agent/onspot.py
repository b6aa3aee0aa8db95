"""`python -m node_agent.onspot DIRECTORY AREA [PATH]`: the files of an attempt for `winslow node local files`.

Reads the disk alone: neither broker nor store nor a running agent is needed. Prints one JSON object: `files`
(path and target percent-encoded), `left_out` (what is not shown, counted) and `more`; or `missing`, a sentence.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from node_agent.places import view
from node_agent.view import Seen
from winslow.errors import WinslowError
from winslow.store.layout import Area

MOST = 100_000


def main(arguments: Sequence[str]) -> int:
    """Print what there is; 0, or 1 where there is nothing."""
    directory, path = Path(arguments[0]), "".join(arguments[2:])
    area: Area = "output" if arguments[1] == "output" else "workspace"
    told: dict[str, object]
    try:
        told = _shown(directory, area, path)
    except (WinslowError, OSError) as error:
        told = {"missing": str(error)}
    print(json.dumps(told))
    return 1 if "missing" in told else 0


def _shown(directory: Path, area: Area, path: str) -> dict[str, object]:
    looked = 0

    def enough(_: Seen | None) -> bool:
        nonlocal looked
        looked += 1
        return looked >= MOST

    page = view(directory, area).page(path, deep=True, enough=enough)
    return {
        "files": [asdict(one) for one in page.seen],
        "left_out": dict(page.left_out),
        "more": bool(page.next),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
