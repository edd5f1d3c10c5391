"""`python -m tests.fuzz SECONDS [--keep]`: fuzz every decoder, each for its share of the time."""

from __future__ import annotations

import argparse
import random
import secrets
import sys

from tests.fuzz.decoders import DECODERS
from tests.fuzz.guided import Found, fuzz, keep


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("seconds", type=float, help="for all of them together")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32), help="for the same run again")
    parser.add_argument("--keep", action="store_true", help="keep what reached something new in the corpus")
    given = parser.parse_args()
    print(f"seed {given.seed}")
    luck, failed = random.Random(given.seed), False
    for name, decoder in DECODERS.items():
        found = 0
        try:
            for data in fuzz(name, decoder, given.seconds / len(DECODERS), luck):
                found += 1
                if given.keep:
                    keep(name, data)
        except Found as exc:
            failed = True
            print(exc)
        print(f"{name:<16} {found} inputs reached something new", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
