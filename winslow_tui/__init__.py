"""The user's side: one facade (`facade.client.Client`) under the command line and the full-screen program."""
