"""Asterism against others, as Markdown: `python -m benchmarks [--peers] [--rounds N]`.

Without `--peers` only hand-written code is measured beside it. `--only WORD` picks cases by title.
"""

import sys
import warnings
from argparse import ArgumentParser
from pathlib import Path

from benchmarks.cases import HAND, PEERS, all_cases
from benchmarks.report import written
from benchmarks.rounds import rounds


def main() -> None:
    warnings.simplefilter("ignore")
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--peers", action="store_true", help="measure other frameworks, too")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="measure cases alone whose title has this word")
    parser.add_argument("--out", type=Path, help="a file for the Markdown")
    given = parser.parse_args()
    cases = [
        case
        for case in all_cases((*HAND, *PEERS) if given.peers else HAND)
        if given.only in case.title
    ]
    text = written(cases, rounds(cases, given.rounds), given.rounds)
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
