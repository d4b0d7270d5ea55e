"""A bookshop on Django: what an ordinary web application asks of its database."""
