"""The same star, with all conversations held at once: what the admission limit is good for."""

from benchmarks.contenders.ours import VERSIONS, build, build_fan, fan, go_on, opened, talk

__all__ = ["VERSIONS", "build", "build_fan", "fan", "go_on", "opened", "talk"]
