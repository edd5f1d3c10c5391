"""`make bench`: take every measurement, print the table, write var/bench.json."""

from __future__ import annotations

import json
import os
import sys

from tests.bench import rows
from tests.bench.run import take
from tests.bench.settings import Settings
from tests.bench.ways import NotAvailable


def main() -> int:
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each of our programs would compile every module anew
    try:
        settings = Settings.of_environment()
        found, facts = take(settings)
    except (NotAvailable, ValueError) as exc:
        print(f"bench: {exc}", file=sys.stderr)
        return 1
    settings.output.parent.mkdir(parents=True, exist_ok=True)
    records = [row.record() for row in found]
    settings.output.write_text(json.dumps(records, indent=1) + "\n")
    settings.machine.write_text(json.dumps(facts, indent=1) + "\n")
    print(rows.table(found))
    print(f"rows: {settings.output}  machine: {settings.machine}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
