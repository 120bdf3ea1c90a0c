"""One status for every bulk job."""
