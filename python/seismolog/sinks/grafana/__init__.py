"""Grafana: dashboards, data source, alert rules and annotations, made by code.

:mod:`.dashboards` says what is shown, :mod:`.panels` and :mod:`.dashboard` how Grafana wants it written, :mod:`.alerts`
when someone is told, :mod:`.provisioning` and :mod:`.files` turn both into files, :mod:`.push` and :mod:`.annotations` bring
them into a running Grafana through its API.
"""
