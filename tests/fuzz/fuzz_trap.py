"""A module that no file may cause to be imported, though some name it."""
