"""What can go wrong with a reproduction, worded as the library words its errors."""


class ReproduceError(Exception):
    """Data that cannot be read, or a choice that is not there: the message says what was looked for and what to do."""


def message(where: str, expected: str, got: str, remedy: str) -> str:
    """Word an error: where, what was expected, what was found, what to do."""
    return f"{where}: expected {expected}; got {got}. {remedy}."
