"""The command line: `asterism run event_planning "..."`."""


def main() -> None:
    """Run the command line."""
    from asterism.cli.app import app

    app()


__all__ = ["main"]
