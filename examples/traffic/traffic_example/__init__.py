"""Road users in a video: who, where, how fast. Three stage programs for Winslow: detect, track, analyse."""
