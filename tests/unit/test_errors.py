from __future__ import annotations

import pytest

from seismolog.errors import (
    ConfigError,
    InputError,
    SeismologError,
    ServiceError,
    StoreError,
    UsageError,
    core_errors,
    escape,
    from_core,
)


def test_exit_statuses_are_those_of_the_command_line() -> None:
    codes = {c: c.exit_code for c in (UsageError, ConfigError, InputError, ServiceError, StoreError)}
    assert codes == {UsageError: 2, ConfigError: 2, InputError: 3, ServiceError: 4, StoreError: 4}


def test_an_error_is_rendered_with_place_expectation_and_mend() -> None:
    error = ConfigError("unknown key", file="a.toml", line=3, key="site.x", expected="y", mend="remove it")
    assert str(error) == "a.toml:3: site.x: unknown key\n  expected: y\n  mend: remove it"
    assert str(InputError("cut short", file="a.gz", offset=12)) == "a.gz: cut short (at byte 12)"


def test_what_a_terminal_would_obey_is_escaped() -> None:
    assert escape("a\x1b[2J\u202eb\x9b\udce9") == "a\\x1b[2J\\u202eb\\x9b\\udce9"
    assert escape("日本語 é\n") == "日本語 é\n"


def _core_class(name: str) -> type[Exception]:
    base = type("SeismologError", (Exception,), {"__module__": "seismolog._core"})
    return type(name, (base,), {"__module__": "seismolog._core"})


def test_errors_of_the_core_become_members_of_the_family() -> None:
    raised = _core_class("InputError")("broken")
    raised.file, raised.offset, raised.message = "x.gz", 7, "bad block"  # type: ignore[attr-defined]
    mapped = from_core(raised)
    assert isinstance(mapped, InputError)
    assert (mapped.file, mapped.offset) == ("x.gz", 7)
    assert "bad block" in str(mapped)
    with pytest.raises(UsageError, match="no zone"), core_errors():
        raise _core_class("UsageError")("no zone")
    with pytest.raises(SeismologError), core_errors():
        raise _core_class("Other")("x")
    with pytest.raises(KeyError), core_errors():
        raise KeyError("ours")


def test_errors_of_the_extension_itself_are_mapped() -> None:
    from seismolog import _core

    with pytest.raises(InputError, match="nowhere"), core_errors():
        _core.scan(["/nowhere/at/all.log"])


@pytest.mark.parametrize(("number", "mend"), [(28, "make room"), (98, "ss -lntup"), (13, "run as a user")])
def test_an_error_of_the_system_says_what_to_do(number: int, mend: str) -> None:
    for name in ("InputError", "Other"):
        mapped = from_core(_core_class(name)(f"wal: it failed (os error {number})"))
        assert mapped.mend is not None and mend in mapped.mend
    assert from_core(_core_class("InputError")("a line that says (os error 28) itself")).mend is None
