"""From features of snippets to scores of snippets: the methods of chapters 8 and 9."""
