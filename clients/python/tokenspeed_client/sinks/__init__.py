"""Where finished captions can go besides the screen: OBS, Zoom, HLS playlists."""
