"""What `pemt doctor` looks at. The standard library is enough to start it: it must run where all else fails."""
