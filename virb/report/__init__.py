"""A static HTML report of a set of scores: a folder that opens from disk, without network or JavaScript."""
