"""The one error a user of the companion is meant to read."""


class InputError(ValueError):
    """Something given to the companion is wrong.

    The message is one sentence that names the file, parameter or shape at fault
    and what is allowed.
    """
