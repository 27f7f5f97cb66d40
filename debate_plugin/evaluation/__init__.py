"""Does it answer better? Tasks, graders, statistics, and the comparison that costs the same on both sides."""
