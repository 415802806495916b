"""One file per job: a subcommand of `lmserve`, and an entry point of `ray job submit`."""
