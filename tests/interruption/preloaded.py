"""What the server of the processes loads once, before it forks them: the stages, and the hashes of their code."""

from __future__ import annotations

import gift_core.driving.training
import gift_core.method.evaluation
import gift_core.method.replay.teach
import stages.app
from gift_core.code.versions import running_code

LOADED = [gift_core.method.evaluation, gift_core.method.replay.teach, gift_core.driving.training, stages.app]
for stage in ("teach", "finetune", "evaluate"):
    running_code().state(stage)
