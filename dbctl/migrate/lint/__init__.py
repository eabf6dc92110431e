"""``dbctl migrate lint``: which revisions are new, what they do on scratch, and what is to be said of it."""
