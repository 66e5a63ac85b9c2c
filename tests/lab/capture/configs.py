"""The configuration of each daemon: loopback only, high ports, its own folders, logging through syslog."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from string import Template

HOST = "lab"
DOMAIN = "lab.example"
# (name, password) of the mailboxes.
ACCOUNTS = (("alice", "wonderland"), ("bob", "builder"), ("carol", "christmas"))
MAIL_UID = 65534


@dataclass(frozen=True)
class Lab:
    """Where everything lies and listens."""

    root: Path
    dns_port: int
    smtp_port: int
    pop_port: int
    imap_port: int
    sink_good_port: int
    sink_busy_port: int
    sink_gone_port: int
    closed_port: int

    @property
    def mail_log(self) -> Path:
        """What the logger writes of Postfix and Dovecot."""
        return self.root / "logs/mail.log"

    @property
    def named_log(self) -> Path:
        """What the logger writes of named."""
        return self.root / "logs/named.log"

    def fill(self, template: str) -> str:
        """A template with its `$names` filled in."""
        values = {key: str(value) for key, value in vars(self).items()}
        return Template(template).substitute(values, host=HOST, domain=DOMAIN, mail_uid=MAIL_UID)

    def write(self, name: str, template: str) -> Path:
        """Write a configuration file below the root, its `$names` filled in."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.fill(template))
        return path


# The host name is set here, so that the captured lines need no rewriting.
RSYSLOG_SYSTEM_LOG = """\
global(localHostname="$host")
module(load="imuxsock" SysSock.Name="/dev/log" SysSock.RateLimit.Interval="0" SysSock.Unlink="on")
"""

RSYSLOG_FILES = """\
if $$syslogfacility-text == "mail" then {
    action(type="omfile" file="$root/logs/mail.log" template="RSYSLOG_TraditionalFileFormat")
    stop
}
if $$programname == "named" then {
    action(type="omfile" file="$root/logs/named.log" template="RSYSLOG_FileFormat")
    stop
}
"""

RSYSLOG = f"""\
global(workDirectory="$root/rsyslog")
{RSYSLOG_SYSTEM_LOG}{RSYSLOG_FILES}"""

# Drivers within a source.
SYSLOG_NG_SYSTEM_LOG = 'unix-dgram("/dev/log" host-override("$host"));'

SYSLOG_NG_FILES = """\
log { source(s_src); filter { facility(mail); }; destination { file("$root/logs/mail.log"); }; };
log { source(s_src); filter { program("named" type(string)); }; destination { file("$root/logs/named.log"); }; };
"""

NAMED = """\
options {
    directory "$root/named";
    pid-file "$root/named/named.pid";
    session-keyfile "$root/named/session.key";
    listen-on port $dns_port { 127.0.0.1; };
    listen-on-v6 port $dns_port { ::1; };
    recursion no;
    dnssec-validation no;
    notify no;
    querylog yes;
    // 127.0.0.48 to 127.0.0.63 are refused.
    allow-query { !127.0.0.48/28; 127.0.0.0/8; ::1; };
};
controls { };
logging {
    channel system { syslog daemon; severity info; };
    channel file {
        file "$root/logs/queries.log"; severity info;
        print-time yes; print-category yes; print-severity yes;
    };
    category default { system; };
    category queries { system; file; };
    category security { system; file; };
};
zone "$domain" { type primary; file "$domain.zone"; };
zone "0.0.127.in-addr.arpa" { type primary; file "reverse.zone"; };
"""

FORWARD_ZONE = """\
$$TTL 300
@       IN SOA  ns1 hostmaster ( 1 3600 600 86400 300 )
        IN NS   ns1
        IN MX   10 mail
        IN TXT  "v=spf1 mx -all"
ns1     IN A    127.0.0.1
mail    IN A    127.0.0.2
        IN AAAA ::1
www     IN A    127.0.0.3
        IN AAAA ::1
_imap._tcp IN SRV 0 1 143 mail
"""

REVERSE_ZONE = """\
$$TTL 300
@       IN SOA  ns1.$domain. hostmaster.$domain. ( 1 3600 600 86400 300 )
        IN NS   ns1.$domain.
1       IN PTR  ns1.$domain.
2       IN PTR  mail.$domain.
3       IN PTR  www.$domain.
"""

POSTFIX_MAIN = """\
compatibility_level = 3.6
queue_directory = $root/postfix/spool
data_directory = $root/postfix/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
syslog_facility = mail
syslog_name = postfix
myhostname = mail.$domain
mydomain = $domain
myorigin = $domain
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
# 127.0.0.16 to 127.0.0.31 may relay; who else connects may only write to our own mailboxes.
mynetworks = 127.0.0.16/28
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_tls_security_level = none
smtp_tls_security_level = none
smtp_dns_support_level = disabled
smtp_host_lookup = native
virtual_mailbox_domains = $domain
virtual_mailbox_maps = texthash:$root/postfix/mailboxes
virtual_mailbox_base = $root/mail
virtual_uid_maps = static:$mail_uid
virtual_gid_maps = static:$mail_uid
transport_maps = texthash:$root/postfix/transport
alias_maps =
alias_database =
biff = no
"""

POSTFIX_TRANSPORT = """\
good.example smtp:[127.0.0.1]:$sink_good_port
busy.example smtp:[127.0.0.1]:$sink_busy_port
gone.example smtp:[127.0.0.1]:$sink_gone_port
down.example smtp:[127.0.0.1]:$closed_port
"""

POSTFIX_MASTER = """\
127.0.0.1:$smtp_port inet n - n - - smtpd
pickup    unix  n - n 1 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp      unix  - - n - - smtp
relay     unix  - - n - - smtp
showq     unix  n - n - - showq
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
local     unix  - n n - - local
virtual   unix  - n n - - virtual
lmtp      unix  - - n - - lmtp
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
"""

DOVECOT = """\
base_dir = $root/dovecot/run
state_dir = $root/dovecot/state
protocols = pop3 imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
log_path = syslog
syslog_facility = mail
login_trusted_networks =
auth_failure_delay = 0
auth_mechanisms = plain login
mail_location = maildir:$root/mail/%n
first_valid_uid = 500
passdb {
  driver = passwd-file
  args = scheme=PLAIN $root/dovecot/users
}
userdb {
  driver = static
  args = uid=$mail_uid gid=$mail_uid home=$root/mail/%n
}
service pop3-login {
  inet_listener pop3 {
    address = 127.0.0.1
    port = $pop_port
  }
  inet_listener pop3s {
    port = 0
  }
}
service imap-login {
  inet_listener imap {
    address = 127.0.0.1
    port = $imap_port
  }
  inet_listener imaps {
    port = 0
  }
}
# The delay that grows with each failure of an address would only make the capture slow.
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
"""
