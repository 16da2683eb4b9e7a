"""These programs are read by type checkers and not run."""

collect_ignore = ["downstream.py", "mistakes.py"]
