"""Why a file cannot be used as an image."""


class BadImageError(Exception):
    """A file that cannot be used; the message is the reason, without the name."""

    lasting = True
    """Whether the reason lies in the file's content, so that it stays as it is."""


class UnreadableError(BadImageError):
    """A file that cannot be read here or now: by its permissions, or for want of a
    package."""

    lasting = False
