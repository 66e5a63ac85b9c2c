"""The cyclopts application: the list of commands, each loaded when it is called."""

from __future__ import annotations

from cyclopts import App

__all__ = ["COMMANDS", "app"]

COMMANDS: dict[str, str] = {
    "analyze": "Read archived logs: series, model and report.html.",
    "count": "Count only, and print the counts.",
    "explain": "Show how each line parses, or why it does not.",
    "init": "Look at logs and write a site.toml.",
    "fit": "Fit the traffic model of each mail server.",
    "detect": "Find incidents, or try thresholds on what the store holds.",
    "plan": "Answer what DNS load so many mails will bring.",
    "report": "Make the report again from the store.",
    "serve": "Count log lines as they come in: the daemon.",
    "pipe": "The daemon as a child of rsyslog or syslog-ng.",
    "top": "Show what the daemon is doing, in a terminal.",
    "integrate": "Print what rsyslog, syslog-ng or systemd need, for this machine.",
    "doctor": "Look for what is wrong with this installation, and say the mend.",
    "export": "Write the store's series into InfluxDB.",
    "grafana": "Bring dashboards and alert rules to Grafana.",
    "simulate": "Write labelled logs in real formats.",
    "evaluate": "Detectors against simulated campuses with known truth.",
}
"""Every command with its sentence; each is the function of that name in ``seismolog.cli.<name>``."""


def _version() -> str:
    from seismolog import __version__

    return f"seismolog {__version__}"


def _make() -> App:
    made = App(
        name="seismolog",
        help="A seismograph for DNS and e-mail servers. It reads the logs that they already write, counts who asks "
        "what, and explains the DNS traffic by the mail traffic.\n\n"
        "Start with: seismolog analyze /var/log",
        help_format="plaintext",
        version=_version,
        result_action="return_value",
        exit_on_error=False,
        print_error=False,
        suppress_keyboard_interrupt=False,
    )
    for name, summary in COMMANDS.items():
        function = {"report": "report", "init": "init"}.get(name, name)
        made.command(f"seismolog.cli.{name}:{function}", name=name, help=summary)
    return made


app = _make()
