"""One sample walked through a network: every equation with its numbers, and one weight's update."""
