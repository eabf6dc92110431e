"""Runs revisions on a scratch server and writes down what each of their statements did there."""
