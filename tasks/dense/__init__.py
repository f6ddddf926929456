"""Dense end tasks beyond the ViRB paper's."""
