"""What each kind of part promises: light declarations, no torch at import. Start reading here."""
