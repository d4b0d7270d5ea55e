"""A bookshop on Django: the database requests of an ordinary web application."""
