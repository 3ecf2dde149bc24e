"""The wire `tokenspeed.v1`: one frozen dataclass for each message, parse and serialise.

The fields of a class are the fields of its JSON object; `type` is its class variable. What clients
read of the protocol, `asyncapi.yaml` and the types of `web/src/protocol.js`, is made from the
classes and their docstrings (`make generate`). Knows names, types and bounds; does not know
sessions, sockets or which languages a model has.

`client` and `server` hold the messages of either side, `settings` and `parts` what they contain,
`codes` how things end or fail, `frames` reading and writing. Import everything from here.
"""

from typing import Final

from service.wire.protocol.client import *
from service.wire.protocol.codes import *
from service.wire.protocol.frames import *
from service.wire.protocol.parts import *
from service.wire.protocol.server import *
from service.wire.protocol.settings import *

SUBPROTOCOL: Final = "tokenspeed.v1"
