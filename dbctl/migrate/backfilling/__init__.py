"""Fills a table's column from a revision, batch by batch, while the application goes on."""
