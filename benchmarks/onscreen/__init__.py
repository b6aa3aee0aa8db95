"""What `tui.py` measures with: a big, busy site, the program with a beat inside, and the terminal it runs in."""
