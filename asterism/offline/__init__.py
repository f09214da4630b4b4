"""A stand-in for a chat model that needs no key and no network.

It is no language model: it reads numbers, money, dates, places and quoted words out of the
conversation by fixed rules, calls the tools that it is given, and routes among whatever
participants there are. It is for trying things; every message it writes is labelled.
"""

from asterism.offline.model import OfflineChatModel

__all__ = ["OfflineChatModel"]
