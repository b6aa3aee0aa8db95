"""Logs of any size as both faces read them: fetched, followed, searched, filtered, saved."""
