"""`python -m onepath.cli`, where the console script is not on the path."""

import sys

from onepath.cli import main

sys.exit(main())
