"""`python -m sea_operator`."""

import sys

from sea_operator.main import main

sys.exit(main())
