"""What rsyslog needs to forward to seismolog.

- Only the programs that matter (:mod:`seismolog.integrate.programs`), by a filter that costs a comparison each.
- A queue of the action's own, in memory and past a mark on disk: seismolog may be away for as long as the disk
  lasts, and nothing else that rsyslog does waits for it.
- A message id, ``$uuid``, which rsyslog makes for a message when it is first asked for. It is asked for *before*
  the action's queue (``set $.seismolog_id = $uuid``) and so is queued with the message, on disk too: a message that
  is sent again carries the same id, also after a restart of rsyslog. Asked for in the template only, it would be
  made behind the queue, anew after each restart.
- The tag up to its colon as APP-NAME, pid included (``postfix/smtpd[88]``): rsyslog's own ``app-name`` ends at the
  slash.

- For RELP a window as large as a batch of the queue. omrelp sends a batch as one burst and holds back the last part of
  a packet until the burst ends; where the window is full before that, each one waits 200 ms: with the default window of
  128 and batches of 1024 we saw 660 lines a second, with a window of 1024 it was 38,000 on the same machine.
- A few seconds for what is under way when rsyslog ends; its default is 10 ms.

The queue is in memory by default. On disk it survives what kills rsyslog, at about a thousand messages a second.
Without one, for omprog only, rsyslog hands over a line at a time and takes its confirmation for its own: its senders wait
until the line is on disk here. That holds where the input is bound to a ruleset without a queue as well.

If the disk space of the queue is used up, what comes is dropped for seismolog only (``timeoutEnqueue="0"``); the
other outputs of rsyslog go on.

Remembered at the other end: ``[live] remembered_ids`` (1,048,576) is more than this queue can hold
(100,000 in memory, and 512 MiB on disk at 600 bytes and more for a message).

Limits, seen with rsyslog 8.2302: what is in its queue when it ends is kept on disk. What it has handed to omrelp (up to
a window) or has in a transaction of omprog and what is not confirmed in that moment, it drops itself when it
ends before the confirmation comes; while seismolog runs, that comes in milliseconds. The queue file's folder is
rsyslog's ``workDirectory`` (``/var/spool/rsyslog`` on Debian), which the main configuration sets.
"""

from __future__ import annotations

from seismolog.errors import UsageError
from seismolog.integrate.machine import Machine, host_and_port
from seismolog.integrate.programs import EXACT, PREFIXES

__all__ = ["QUEUES", "VIAS", "rsyslog"]

VIAS = ("relp", "tcp", "omprog")

#: Where messages wait for seismolog: in memory and past a mark on disk, all on disk, or with their sender.
QUEUES = ("memory", "disk", "none")

#: A traditional line with a full time: nothing waits for a confirmation, so it needs no id.
_LINE = """\
    constant(value="<") property(name="pri") constant(value=">")
    property(name="timereported" dateFormat="rfc3339") constant(value=" ")
    property(name="hostname") constant(value=" ")
    property(name="syslogtag")
    property(name="msg" spifno1stsp="on") property(name="msg" droplastlf="on")"""

#: RFC 5424, with the id as structured data.
_MESSAGE = """\
    constant(value="<") property(name="pri") constant(value=">1 ")
    property(name="timereported" dateFormat="rfc3339") constant(value=" ")
    property(name="hostname") constant(value=" ")
    property(name="syslogtag" field.delimiter="58" field.number="1")
    constant(value=" - - [seismolog@32473 id=\\"") property(name="$.seismolog_id") constant(value="\\"]")
    property(name="msg" spifno1stsp="on") property(name="msg" droplastlf="on")"""

_LINE_FEED = """
    constant(value="\\n")"""

_HEAD = {
    "relp": """\
# rsyslog -> seismolog over RELP: a message is only taken out of the queue when seismolog has it on disk.
# Needs the package rsyslog-relp.""",
    "tcp": """\
# rsyslog -> seismolog over TCP: fast, and needs no further package. TCP confirms nothing: what was under way when
# seismolog was killed, or in its socket, is lost. Use relp where that matters.""",
    "omprog": """\
# rsyslog -> `seismolog pipe`, started and restarted by rsyslog itself: no daemon besides. Each transaction is
# confirmed once it is on disk.""",
}

_HEAD_NONE = """\
# rsyslog -> `seismolog pipe`, started and restarted by rsyslog itself, without a queue: rsyslog has done with a line when
# it is on disk in seismolog. For that to hold for its senders too, bind their input to a ruleset without a queue:
#   input(type="imrelp" port="2514" ruleset="in")
#   ruleset(name="in" queue.type="Direct") { ... }    # with the filter at the end of this file in it
# Slow (every line is flushed before the next comes), and all that rsyslog does waits while seismolog is away."""


def _words(names: tuple[str, ...]) -> str:
    lines: list[str] = []
    line = ""
    for word in (f'"{n}"' for n in names):
        if len(line) + len(word) > 90:
            lines.append(line)
            line = ""
        line += ("" if not line else ", ") + word
    return ",\n        ".join([*lines, line])


def rsyslog(machine: Machine, via: str = "relp", queue: str = "memory") -> str:
    """The file for /etc/rsyslog.d.

    Raises
    ------
    UsageError
        `via` is none of :data:`VIAS`, `queue` none of :data:`QUEUES` or none for that way, or ``serve`` does not
        listen there.
    """
    if via not in VIAS:
        raise UsageError(
            f"--via: rsyslog cannot reach seismolog by {via!r}", expected=f"one of {', '.join(VIAS)}"
        )
    if queue not in QUEUES:
        raise UsageError(f"--queue: there is no {queue!r}", expected=f"one of {', '.join(QUEUES)}")
    if queue == "none" and via != "omprog":
        raise UsageError(
            f"--queue none: by {via} rsyslog loses what is under way when it is killed, so that it would promise nothing",
            mend="add --via omprog, or choose --queue disk",
        )
    module, action = {
        "relp": _relp,
        "tcp": _tcp,
        "omprog": _omprog if queue != "none" else _omprog_by_line,
    }[via](machine)
    option = "" if queue == QUEUES[0] else f" --queue {queue}"
    return f"""\
{_HEAD[via] if queue != "none" else _HEAD_NONE}
#
# Put it into /etc/rsyslog.d/10-seismolog.conf, then:
#   rsyslogd -N1 && systemctl restart rsyslog
# Made by `seismolog integrate rsyslog --via {via}{option}`.

{module}
template(name="seismolog" type="list") {{
{_template(via)}
}}

ruleset(name="seismolog") {{
    {_set(via)}action(
{action}
        template="seismolog"
        action.resumeRetryCount="-1" action.resumeInterval="2"
{_queue(via, queue)}
    )
}}

# Only the programs that seismolog counts.
if ($programname == [
        {_words(EXACT)}
    ]) or ($programname startswith [{", ".join(f'"{p}"' for p in PREFIXES)}])
    or ($programname == "kernel" and $msg contains " SRC=") then {{
    call seismolog
}}
"""


def _queue(via: str, queue: str) -> str:
    if queue == "none":
        return '        queue.type="Direct"'
    if queue == "disk":
        kind = """\
        # A queue of its own, on disk: killing rsyslog leaves it there (a power cut too, with syncQueueFiles="on").
        queue.type="Disk" queue.dequeueBatchSize="1024\""""
        checkpoint = 1
    else:
        kind = """\
        # A queue of its own: in memory, and on disk while seismolog is away.
        queue.type="LinkedList" queue.size="100000" queue.dequeueBatchSize="1024\""""
        checkpoint = 1000
    return f"""\
{kind}
        queue.filename="seismolog{"" if via == "relp" else "-" + via}" queue.maxDiskSpace="512m" queue.maxFileSize="16m"
        queue.checkpointInterval="{checkpoint}" queue.saveOnShutdown="on" queue.timeoutEnqueue="0"
        # Time for what is under way when rsyslog ends.
        queue.timeoutShutdown="3000" queue.timeoutActionCompletion="10000\""""


def _set(via: str) -> str:
    if via == "tcp":
        return ""
    return """\
# The id of the message, made here, before the queue, so that it is sent again with it.
    set $.seismolog_id = $uuid;
    """


def _template(via: str) -> str:
    if via == "tcp":
        return _LINE
    return _MESSAGE + (_LINE_FEED if via == "omprog" else "")


def _listener(machine: Machine, name: str) -> tuple[str, str]:
    listener: str | None = getattr(machine, name)
    if listener is None:
        raise UsageError(
            f"serve does not listen for {name}",
            key=f"listen.{name}",
            mend=f'set [listen] {name} = "127.0.0.1:{5515 if name == "relp" else 5514}", or choose another --via',
        )
    return host_and_port(listener)


def _relp(machine: Machine) -> tuple[str, str]:
    host, port = _listener(machine, "relp")
    return (
        'module(load="omrelp")\n',
        f'        type="omrelp" target="{host}" port="{port}" timeout="15" windowSize="1024"',
    )


def _tcp(machine: Machine) -> tuple[str, str]:
    host, port = _listener(machine, "tcp")
    return "", (
        f'        type="omfwd" target="{host}" port="{port}" protocol="tcp"\n'
        '        TCP_Framing="octet-counted" KeepAlive="on"'
    )


def _omprog(machine: Machine) -> tuple[str, str]:
    # Long enough to commit what has closed.
    return _pipe(machine, "transactions", ' useTransactions="on"', 40_000)


def _omprog_by_line(machine: Machine) -> tuple[str, str]:
    # What was confirmed is on disk already. Without a queue rsyslog 8.2302 waits all of this time when it ends.
    return _pipe(machine, "lines", "", 5_000)


def _pipe(machine: Machine, confirm: str, transactions: str, close: int) -> tuple[str, str]:
    binary = f"{machine.program} pipe --confirm {confirm} --config {machine.config}"
    return (
        'module(load="omprog")\n',
        f"""\
        type="omprog" binary="{binary}"
        confirmMessages="on" confirmTimeout="10000"{transactions}
        closeTimeout="{close}" killUnresponsive="on" output="/var/log/seismolog-pipe.log\"""",
    )
