"""The full-screen program itself: its keys, colours and terminal, what it knows of the site and what it remembers."""
