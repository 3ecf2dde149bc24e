"""Where finished captions go beside the screen: OBS, Zoom, a playlist of HLS."""
