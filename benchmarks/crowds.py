"""A thousand threads of ten turns in one process on one sqlite file, against a hand-written star.

Both run 50 threads at once; each round measures both, in random order. Read the ratios.
"""

import random
import statistics
import sys
from argparse import ArgumentParser

from benchmarks.turns import BASE, OURS, one

TURNS = 10


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1000)
    arguments = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {BASE: [], OURS: []}
    for number in range(arguments.rounds):
        for star in random.sample([BASE, OURS], 2):
            found[star].append(one(star, TURNS, "sqlite", threads=arguments.threads))
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
    print("| star | turns a second | CPU ms a turn | peak MB | bytes |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for star, rounds in found.items():
        each = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        speed = f"{1e3 / each['wall']:.0f} | {each['cpu']:.2f}"
        print(f"| {star} | {speed} | {each['peak']:.0f} | {each['bytes']:,.0f} |")
    for key in ("wall", "cpu", "peak"):
        pairs = zip(found[OURS], found[BASE], strict=True)
        print(f"{key} ratio: {statistics.median(o[key] / b[key] for o, b in pairs):.2f}")


if __name__ == "__main__":
    main()
