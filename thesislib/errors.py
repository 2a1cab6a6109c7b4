"""The one error a user of the companion is meant to read."""


class InputError(ValueError):
    """Something given to the companion is wrong.

    The message is one sentence that names the file, parameter or shape at fault
    and what is allowed.
    """

    def _render_traceback_(self) -> list[str]:
        """What IPython shows of it: the sentence, not the way through the code."""
        return [f"{type(self).__name__}: {self}"]
