"""`python -m sea_operator`."""

import sys

from sea_operator.kube import lean_library

# Before kopf, which imports the kubernetes library where there is one.
lean_library.install()

from sea_operator import gc_pauses  # noqa: E402
from sea_operator.main import main  # noqa: E402

# After all imports, which are most of what is never freed.
gc_pauses.install()
sys.exit(main())
