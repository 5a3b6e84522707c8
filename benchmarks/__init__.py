"""Compare the speed of ``ciam_django`` and other packages; ``python -m benchmarks`` runs all.

Each suite is a file with cases (name -> timed function) and rows (the figures that are reported).
Only ratios and differences of medians of one run count: the same case may take twice as long on
another machine.
"""
