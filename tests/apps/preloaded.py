"""What the process has imported that servers and jobs are copied from (``ready.py``).

The search for unreachable objects takes a sixth of such imports, and afterwards it makes each copy write to all their memory: it leaves them out.
"""

from __future__ import annotations

import gc

gc.disable()

import timm  # noqa: E402, F401

import syntype.adaptation  # noqa: E402
import syntype.apps.web.server  # noqa: E402
import syntype.generators.engine.training  # noqa: E402
import syntype.synthesis  # noqa: E402, F401

gc.freeze()
gc.enable()
