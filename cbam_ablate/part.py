"""What is true of a part, without building it: of ours, or of one's own by its signature."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from inspect import Parameter
from types import MappingProxyType
from typing import Any, ClassVar, Self

from cbam_ablate import own
from cbam_ablate.errors import ConfigError

TARGET = re.compile(r"\w+(\.\w+)*:\w+")
"""`module:name`, the spelling of one's own parts and of where ours are."""
NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Part:
    """A row. `builder` is `module:name` of the code that makes the part.

    Of one's own part, `target` is `module:name` of the code, of which `takes` are the parameters that are
    options, with `**` where it takes any other by name; `leads` is how many arguments it is called with
    beside those, and `uses` those of `hands` that it takes.

    Of each kind, `option` is the option that names it, `group` its config group and, after `cbam_ablate.`,
    the group of entry points by which packages offer more, and `table` is `module:name` of its rows. One's
    own function is called with `leading` arguments, and by name with those of `hands` that its signature
    takes; `own_builder` does so, and stands in place of the code where that isn't itself the builder. `owns`
    says whether the kind takes one's own code.
    """

    builder: str
    target: str = field(default="", kw_only=True)
    takes: Mapping[str, Parameter] = field(default_factory=dict, kw_only=True)
    leads: int = field(default=0, kw_only=True)
    uses: frozenset[str] = field(default=frozenset(), kw_only=True)
    option: ClassVar[str]
    group: ClassVar[str]
    table: ClassVar[str] = ""
    owns: ClassVar[bool] = True
    leading: ClassVar[int] = 0
    hands: ClassVar[frozenset[str]] = frozenset()
    own_builder: ClassVar[str] = ""

    def load(self) -> Callable[..., Any]:
        """The code; torch may be imported with it."""
        if self.target and self.builder == self.target:
            return own.load_own(self.target, self.option)
        return load(self.builder)

    def call(self, *first: Any, options: Mapping[str, Any] = NOTHING, **handed: Any) -> Any:
        """What one's own code gives for what it takes of `first` and `handed`, and for its options."""
        code = own.load_own(self.target, self.option)
        return code(*first[: self.leads], **self._handed(handed), **self.typed_options(options))

    def function(self, options: Mapping[str, Any] = NOTHING, **handed: Any) -> Callable[..., Any]:
        """One's own function with its options, or what its own class makes of them, ready to be called."""
        code = own.load_own(self.target, self.option)
        given = {**self._handed(handed), **self.typed_options(options)}
        if isinstance(code, type):
            made: Callable[..., Any] = code(**given)
            return made
        return partial(code, **given)

    def _handed(self, handed: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in handed.items() if name in self.uses}

    def typed_options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the given options that one's own part takes, as its signature types them.

        Raises `ConfigError` for a value of another type, and where one is missing that has no default.
        """
        section = self.options_name
        found, wrong = {}, []
        for name, value in given.items():
            parameter = self.takes.get(name)
            if parameter is None and "**" not in self.takes:
                continue
            try:
                found[name] = value if parameter is None else own.typed(value, parameter)
            except ValueError as error:
                wrong.append(f"{section}.{name}={value}: {self.target} takes {error} for it ({parameter})")
        wrong += [
            f"{section}.{name}: {self.target} needs it, {parameter}"
            for name, parameter in self.takes.items()
            if name != "**" and parameter.default is parameter.empty and name not in given
        ]
        if wrong:
            raise ConfigError("\n".join(wrong))
        return found

    @property
    def defaults(self) -> dict[str, Any]:
        """What the options of one's own part are where they aren't given, as far as a config can say it."""
        return {
            name: list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
            for name, parameter in self.takes.items()
            if name != "**" and own.is_plain(parameter.default)
        }

    @property
    def options_name(self) -> str:
        """The dotted name of one's own part's options."""
        return f"{self.option.rpartition('.')[0]}.options"

    @classmethod
    def of_own(cls, target: str, code: Callable[..., Any]) -> Self:
        """The row of one's own part."""
        parameters = own.parameters_of(code)
        leads = cls.leads_of(code, parameters)
        known = own.named(parameters, leads)
        takes = {name: one for name, one in known.items() if name not in cls.hands}
        if any_other := own.any_other(parameters):
            takes["**"] = any_other
        uses = {*known} & cls.hands | ({"options"} if takes else set())
        builder = cls.own_builder or target
        return cls(builder, target=target, takes=takes, leads=leads, uses=frozenset(uses))

    @classmethod
    def leads_of(cls, code: Callable[..., Any], parameters: own.Parameters) -> int:
        """How many of `leading` arguments the code takes."""
        return cls.leading

    @classmethod
    def chosen(cls, name: str) -> dict[str, Any]:
        """What a file of the group would say that chose one's own part by this name."""
        return {cls.option.rpartition(".")[2]: name}


def load(target: str) -> Any:
    """What `module:name` names."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)
