"""The user's side: one facade (`client.Client`) under the command line and, later, the full-screen program."""
