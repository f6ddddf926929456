"""What a job leaves behind: the record, its predictions, and the store of both."""
