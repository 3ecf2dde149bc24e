"""`python -m tokenspeed`: the engine's commands, without the service."""

import sys

from tokenspeed.cli import main

sys.exit(main())
