"""Lists for all users of a file, without HTTP: `rqrec bulk`."""
