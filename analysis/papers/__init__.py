"""The papers: what each did, printed and said, and the functions that ask whether it holds."""
