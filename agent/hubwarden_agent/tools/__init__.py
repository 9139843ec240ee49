"""Tools for an operator. Nothing that serves imports anything from here."""
