"""``seismolog simulate``: labelled logs in real formats."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from seismolog.errors import UsageError


def simulate(
    scenario: str | None = None,
    folder: str | None = None,
    *,
    seed: int = 1,
    param: Annotated[list[str] | None, Parameter(negative=(), consume_multiple=False)] = None,
) -> int:
    """Write labelled logs in real formats, and truth.json beside them.

    Parameters
    ----------
    scenario
        Which one; without it, the scenarios are listed.
    folder
        Where the logs go.
    seed
        The same seed gives the same bytes.
    param
        A parameter of the scenario as name=value; may be given more than once.
    """
    from seismolog.simulate import run, scenarios

    if scenario is None:
        for name, known in scenarios().items():
            print(f"{name:20} {known.summary}")
            for key, default in known.parameters().items():
                if key != "seed":
                    print(f"{'':20}   --param {key}={default}")
        return 0
    if folder is None:
        raise UsageError("no folder was named", mend=f"seismolog simulate {scenario} FOLDER")
    choices = scenarios()
    if scenario not in choices:
        raise UsageError(f"no scenario is called {scenario!r}", expected=f"one of {', '.join(choices)}")
    parameters = _parameters(param or [], choices[scenario].parameters())
    try:
        run(scenario, folder, seed=seed, **parameters)
    except ValueError as error:
        raise UsageError(str(error)) from error
    print(f"wrote {scenario} (seed {seed}) to {folder}")
    return 0


def _parameters(given: list[str], defaults: dict[str, Any]) -> dict[str, Any]:
    """``name=value`` words as values of the types that the scenario's defaults have."""
    values: dict[str, Any] = {}
    for word in given:
        name, equals, text = word.partition("=")
        if not equals:
            raise UsageError(f"--param: {word!r} is no parameter", expected="name=value")
        if name not in defaults:
            known = ", ".join(key for key in defaults if key != "seed")
            raise UsageError(f"--param: the scenario has no parameter {name!r}", expected=f"one of {known}")
        default = defaults[name]
        try:
            if isinstance(default, bool):
                values[name] = {
                    "true": True,
                    "yes": True,
                    "1": True,
                    "false": False,
                    "no": False,
                    "0": False,
                }[text.lower()]
            elif isinstance(default, int):
                values[name] = int(text)
            elif isinstance(default, float):
                values[name] = float(text)
            else:
                values[name] = text
        except (KeyError, ValueError):
            raise UsageError(
                f"--param: {name}={text!r} is of the wrong type", expected=f"a value like {default!r}"
            ) from None
    return values
