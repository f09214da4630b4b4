"""A small folder of sources, for the tests of what reads it."""

from collections.abc import Callable
from pathlib import Path

from asterism.nodes.examples.research.passages import terms
from asterism.nodes.examples.research.search import rank_sources, read_all
from asterism.nodes.examples.research.sources import Folder

Use = Callable[..., str]
"""Uses a tool by its name."""

WHEAT = """# Wheat in Europe

The price of wheat rose to 12.5 euros in 1901. Dr. Smith, of the
Royal Society, blamed the drought! It fell again in 1902.

## Notes

```
# not a heading
```

## Notes

- Rye was cheaper than wheat.
- Oats cost half.

Prices
------
Barley: see e.g. the table.
"""
PRICES = 'city;price;note\nOslo;12;"a ""good"" one"\nRome;9;"two\nlines"\nBergen;7;\n'
PAGE = """<html><head><style>p { color: wheat }</style><title>Crops &amp; more</title></head>
<body><h1 class="x">Harvest &lt;1&gt;</h1>
<p>Wheat is <b>gr</b>own here.</p><p>Rye is not.</p>
<!-- wheat <p>hidden</p> --><script>
var wheat = 1;
</script>Caf&eacute; &#8364;</body></html>
"""


def places(root: Path, question: str) -> list[str]:
    """The places of the passages that fit a question, the best first."""
    found = rank_sources(read_all(Folder.at(root)), frozenset(terms(question)))
    return [passage.place for passage in found]
