"""What a person can do to a site, for both faces: `client.Client` and its parts."""
