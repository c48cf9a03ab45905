"""One module per figure: `ITEMS` of the papers, `SETTINGS` for each preset, and `run(study) -> Outcome`.

The first line of a module's docstring is the figure's title. `run` trains nets (or takes them from the
cache) with the study's methods, analyses them with svcca's public names, draws, and judges each claim with
`reproduce.claims.judge`.
"""
