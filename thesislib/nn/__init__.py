"""Networks shared by several chapters."""
