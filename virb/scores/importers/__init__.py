"""What other programs wrote: one file a source, each an importer."""
