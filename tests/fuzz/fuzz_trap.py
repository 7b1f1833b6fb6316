"""A module that no file may cause to be imported; the class has no business in a model either."""
