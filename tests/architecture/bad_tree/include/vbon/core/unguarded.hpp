// No guard.
