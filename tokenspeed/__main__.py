"""`python -m tokenspeed`: the same program as `tokenspeed`."""

import sys

from tokenspeed.cli import main

sys.exit(main())
