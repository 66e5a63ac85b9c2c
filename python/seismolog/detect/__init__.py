"""Incidents: where a curve stops making sense, since when, how surely, and why.

- :mod:`~seismolog.detect.base`       what a detector is and what it raises
- :mod:`~seismolog.detect.registry`   the list of detectors: one file each in this package
- :mod:`~seismolog.detect.site`       what is known about the site: servers, scanners, holidays, suppressions
- :mod:`~seismolog.detect.view`       the tables of a stretch of time as curves, with what was to be expected of them
- :mod:`~seismolog.detect.groups`     clients that work alike
- :mod:`~seismolog.detect.residuals`  counts against their expectation: probabilities, whitened residuals
- :mod:`~seismolog.detect.baseline`   what is usual for each client and slot of the week, kept in the store
- :mod:`~seismolog.detect.incidents`  the life of an incident: open, update, close; several detectors, one cause
- :mod:`~seismolog.detect.run`        all of it over a stretch of time, or at the close of a bin

A detector is a pure function of a view. It reads no logs and writes nothing.
"""
