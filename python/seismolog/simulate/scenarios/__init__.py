"""One module a scenario; see :mod:`seismolog.simulate.registry` for what a module must hold."""
