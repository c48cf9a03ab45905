"""One module a figure: `ITEMS` of the papers, `SETTINGS` for each preset, and `run(study) -> Outcome`.

The first line of a module's docstring is the figure's title. `run` trains (or takes from the cache) by the study's
methods, analyses with svcca's public names, draws, and judges each claim by `reproduce.claims.judge`.
"""
