"""Readers: one public data set layout each, from files to :class:`virb.contracts.examples.Examples`.

A reader takes the data set's own folder and a split ("train" or "test"). It raises DataAbsent where the set is not
there, and DataError naming the file where it is incomplete or holds what it should not.
"""
