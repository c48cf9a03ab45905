"""Figures of arrays and labels: what a result's `.plot()` hands over is all that a function here knows.

Nothing here is imported before a figure is asked for, so that `import svcca` does not need matplotlib.
"""
