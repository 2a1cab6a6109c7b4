"""The book's side of Sphinx: chapters, their runs and the results as pages.

Needs the standard library and Sphinx only; `extension` is named in `_config.yml`.
"""
