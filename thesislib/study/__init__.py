"""What all chapters share: tasks, methods, units, and the sections made of them."""
