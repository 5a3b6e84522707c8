"""How fast it is, beside what others do: one file per question, ``python -m benchmarks`` asks all.

Each file has its cases (name -> what is timed) and its rows (what is told of them). Only ratios and
differences of medians of one run count: the same case is half as fast on another machine.
"""
