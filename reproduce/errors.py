"""Define the errors of a reproduction, worded like those of the library."""


class ReproduceError(Exception):
    """Unreadable data or an unknown choice; the message says what was expected and what to do."""


def message(where: str, expected: str, got: str, remedy: str) -> str:
    """Format an error: where, what was expected, what was found, what to do."""
    return f"{where}: expected {expected}; got {got}. {remedy}."
