"""The commands of the engine, a file for each; `tokenspeed.cli` names them."""
