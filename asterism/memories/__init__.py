"""What teams and participants remember beyond a thread."""
