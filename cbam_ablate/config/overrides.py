"""The tokens of the command line: read, written as Hydra wants them, and checked against what exists."""

import dataclasses
import difflib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, Quote, QuotedString, RangeSweep, Sweep, ValueType
from hydra.errors import HydraException

from cbam_ablate.config.hydra_node import HOLDERS, wrong_setting
from cbam_ablate.config.options import ALIASES, coerce, dotted_names, holder_of, long_name
from cbam_ablate.config.own_choices import is_own, own_spelling
from cbam_ablate.config.where import choices, groups, standing
from cbam_ablate.errors import ConfigError, UserError

SINGLE = ("study", "store", "name")
"""What a command has one of, swept or not."""

MOST_VALUES = 100_000

OTHERS: dict[str, Callable[[int], bool]] = {
    "reduction": lambda value: value > 0,
    "kernel": lambda value: value > 0 and value % 2 == 1,
}
"""Groups whose option takes numbers that are no choice of it, and which."""
FILLED_IN = "code"


@dataclass(frozen=True, eq=False)
class Token:
    """One `name=value` of the command line, as it was typed and as Hydra reads it."""

    text: str
    override: Override

    @property
    def name(self) -> str:
        return self.override.key_or_group

    @property
    def for_hydra(self) -> str:
        """As Hydra accepts it: `depth=18,34` becomes `depth='18','34'`."""
        return self.override.input_line or ""

    @cached_property
    def value_text(self) -> str:
        """Its value as it is written, without quotes."""
        return self.for_hydra.partition("=")[2].strip("'\"")

    @property
    def sweeps(self) -> bool:
        """Whether it stands for several values."""
        return self.override.is_sweep_override()

    @cached_property
    def values(self) -> list[Any]:
        """The values it stands for, one or several; raises `ConfigError` for an open interval."""
        if not self.sweeps:
            return [self.override.value()]
        value = self.override.value()
        if isinstance(value, Glob):
            return list(value.filter(choices(self.name)))
        return [_plain(item) for item in _items(self)]


def _plain(value: Any) -> Any:
    return value.text if isinstance(value, QuotedString) else value


def parse(texts: Iterable[str]) -> list[Token]:
    """Hydra's reading of each token, choices of our groups as strings; of an option given twice, the last.

    A group that the defaults don't have is added. A group replaces its option's dotted name before it; after
    it, that name changes what the group chose.
    Raises `ConfigError` listing every token that can't be read.
    """
    parser, errors, ours = OverridesParser.create(), [], groups()
    added = ours - standing()
    last: dict[str, Token] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if equals and set(name) & set("[]\\"):  # Hydra 1.4 reads these, 1.3 doesn't
            errors.append(f"{text}: a name is words and dots; a list is set as a whole, NAME=[a,b]")
            continue
        line = f"{long_name(name)}{equals}{value}"
        try:
            override = parser.parse_override(line)
            key = override.key_or_group
            if override.is_force_add() and not _holder(key):
                line = line.removeprefix("++")
                override = parser.parse_override(line)
            if not (override.is_add() or override.is_force_add() or override.is_delete()):
                if _holder(key):
                    override = parser.parse_override(f"++{line}")
                elif key in added:
                    override = parser.parse_override(f"+{line}")
            if override.key_or_group in ours or "/" in override.key_or_group:
                override = _quote_choice(parser, override)
            token = Token(text, override)
            last.pop(ALIASES.get(token.name, ""), None)
            last[token.name] = token
        except (HydraException, ValueError) as error:
            reason = str(error.__cause__ or error).splitlines()[0]
            cause = f" ({reason})" if reason != "None" else ""
            errors.append(f"{text}: not a name=value that Hydra can read{cause}; {name}='...' quotes special "
                          "characters, within quotes for the shell")  # fmt: skip
    if errors:
        raise ConfigError("\n".join(errors))
    return list(last.values())


def _quote_choice(parser: OverridesParser, override: Override) -> Override:
    """Hydra refuses a number as a group's choice; as a string it is one."""
    if override.is_delete():
        return override
    value = override.value()
    if isinstance(value, Sweep):
        if not override.is_discrete_sweep():
            return override
        values = list(override.sweep_iterator())
    else:
        values = [] if value is None else [value]
    if not any(isinstance(item, int | float) for item in values):
        return override
    quoted = ",".join(_element(item, quote=isinstance(item, int | float)) for item in values)
    head = (override.input_line or "").partition("=")[0]
    return parser.parse_override(f"{head}={quoted}")


def single_values(token: Token) -> list[Token]:
    """A token for each of its values. Raises `ConfigError` where it stands for none."""
    override = token.override
    if not token.sweeps:
        return [token]
    glob = isinstance(override.value(), Glob)
    items = [QuotedString(name, Quote.single) for name in token.values] if glob else _items(token)
    head, found = token.for_hydra.partition("=")[0], []
    for item in items:
        line = f"{head}={_element(item, quote=False)}"
        one = dataclasses.replace(override, value_type=ValueType.ELEMENT, _value=item, input_line=line)
        found.append(Token(line, one))
    if not found:
        raise ConfigError(f"{token.text}: stands for no value")
    return found


def _items(token: Token) -> list[Any]:
    """A sweep's values as Hydra has them, ranges in decimals: 0.1, 0.2, 0.3 without digits at the end."""
    value = token.override.value()
    if getattr(value, "shuffle", False):
        raise ConfigError(f"{token.text}: the same command makes the same plan, so nothing is shuffled")
    if not token.override.is_discrete_sweep():
        raise ConfigError(f"{token.text}: an interval has no list of values; use range(a,b,step) or a,b,c")
    if not isinstance(value, RangeSweep):
        return list(token.override.sweep_iterator())
    start, stop, step = (Decimal(repr(number or 0)) for number in (value.start, value.stop, value.step))
    if not step or not all(number.is_finite() for number in (start, stop, step)):
        raise ConfigError(f"{token.text}: range(START,STOP,STEP) of finite numbers, with a step that isn't 0")
    count = max(0, math.ceil((stop - start) / step))
    if count > MOST_VALUES:
        raise ConfigError(f"{token.text}: {count} values; an axis has {MOST_VALUES} at most")
    whole = all(isinstance(number, int) for number in (value.start, value.stop, value.step))
    return [(int if whole else float)(start + index * step) for index in range(count)]


def _element(item: Any, quote: bool) -> str:
    text = Override._get_value_element_as_str(item).replace("\\:", ":")
    return QuotedString(text, Quote.single).with_quotes() if quote else text


def verify(tokens: Iterable[Token], sweeping: bool) -> None:
    """Checks names, choices and types of all tokens; raises one `ConfigError` that names every bad one."""
    found: list[str] = []
    ours = groups()
    for token in tokens:
        name, override = token.name, token.override
        if name.startswith("hydra"):
            if wrong := wrong_setting(token, sweeping):
                found.append(wrong)
            continue
        try:
            if wrong := _wrong_form(token, ours):
                found.append(wrong)
            elif override.is_delete():
                continue
            elif token.sweeps and name in SINGLE:
                found.append(f"{token.text}: one {name} at a time; give one value")
            elif token.sweeps and not sweeping:
                found.append(
                    f"{token.text}: several values make a sweep; add -m to run it, or give one value"
                )
            else:
                found += _bad_choices(token) if name in ours else _bad_values(token)
        except UserError as error:
            found.append(str(error))
    if found:
        raise ConfigError("\n".join(found))


def _wrong_form(token: Token, ours: set[str]) -> str:
    """What is wrong with a token's `~`, `+` or `@`, if anything."""
    name, override = token.name, token.override
    if override.package:
        return f"{token.text}: each group writes to one place; name=value, without @"
    if override.is_delete() and name not in ours and (name in dotted_names() or not _holder(name)):
        return f"{token.text}: an option always has a value; {name}=VALUE sets it, without ~"
    added = override.is_add() and not _holder(name)
    if added and (name in dotted_names() or name in standing()):
        return f"{token.text}: {name} is there already; {token.text.lstrip('+')} sets it, without +"
    return ""


def _bad_choices(token: Token) -> list[str]:
    group, found = token.name, []
    legal = choices(group)
    single = group in ALIASES or group in SINGLE
    for value in token.values if single else _flat(token.values):
        if isinstance(value, list):
            sweep = f"; a sweep is {group}={','.join(map(str, value))} with -m" if group in ALIASES else ""
            found.append(f"{token.text}: takes one{sweep}")
        elif str(value) not in legal and not is_own(group, str(value)):
            dotted = ALIASES.get(group)
            number = str(value).isdecimal()
            works = number and group in OTHERS and OTHERS[group](int(value))
            hint = f"; any other value goes by its dotted name, {dotted}={value}" if works else ""
            near = "" if number else _near(str(value), legal)
            near = own_spelling(group, str(value)) or near
            found.append(f"{group}={value}: not one of {', '.join(legal)}{near}{hint}")
    return found


def _flat(values: list[Any]) -> Iterator[Any]:
    for value in values:
        yield from value if isinstance(value, list) else [value]


def _bad_values(token: Token) -> list[str]:
    key, known = token.name, dotted_names()
    if key.partition(".")[0] == FILLED_IN:
        return [f"{token.text}: filled in from the source of your own parts; there is nothing to set"]
    if _holder(key):
        return []
    if key not in known:
        inside = [name for name in known if name.startswith(f"{key}.")]
        if inside:
            return [f"{token.text}: {key} is a section; set its options: {', '.join(inside)}"]
        return [f"{token.text}: no option or group is called {key}{_near_name(key)}"]
    found = []
    for value in token.values:
        try:
            coerce(key, value)
        except UserError as error:
            found.append(str(error))
    return found


def _holder(key: str) -> bool:
    """Whether the key is, or is inside, an option that holds free keys, as `table.labels` does."""
    return key.startswith(HOLDERS) or holder_of(key) is not None


def _near_name(key: str) -> str:
    known = [*dotted_names(), *groups()]
    tails = [name for name in known if name.rpartition(".")[2] == key.rpartition(".")[2]]
    close = tails or difflib.get_close_matches(key, known, n=3, cutoff=0.6)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    sections = sorted({name.partition(".")[0] for name in known})
    return f"; the sections and groups are {', '.join(sections)}"


def _near(text: str, legal: list[str]) -> str:
    close = difflib.get_close_matches(text, legal, n=1)
    return f"; did you mean {close[0]}?" if close else ""
