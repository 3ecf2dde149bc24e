"""How clients come in: the socket, plain HTTP, and who may."""
