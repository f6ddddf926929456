"""Papers: what theirs and ours say of their claims, how far apart the numbers are, what a run costs, and running it."""
