"""Pages that jobs leave: text, tables and pictures in one file that needs nothing else."""
