"""What both faces tell people of a site: plain data for tables and for JSON, and how it is put into words."""
