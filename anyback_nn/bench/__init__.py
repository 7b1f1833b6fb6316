"""Time training steps of the same model on several backends, which take turns.

`Steps` takes the steps, `time_steps` times them.
"""

from anyback_nn.bench.steps import Steps
from anyback_nn.bench.timing import Timing, time_steps

__all__ = ["Steps", "Timing", "time_steps"]
