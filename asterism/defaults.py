"""What is taken where nothing is said."""

OFFLINE = "offline"
"""The name of the model that needs no key and no network."""
