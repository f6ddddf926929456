"""What lies below everything: files, paths, locks and leases, threads, memory, progress, downloads."""
