"""How samples are taken, when there are enough of them, and what they say.

- `plan`: how long, and how precisely, tactics are timed
- `sampling`: how long a tactic takes, and which of two is faster: sampling, stopping and comparing
- `statistics`: what samples say: the interval of a median, and which of two tactics is faster
"""
