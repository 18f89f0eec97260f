"""Exchanges with several systems (live, test, demo), each with its hosts, and pairs that a list or a convention names."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar, Self

from bridge.exchanges.api import Exchange, Flow, ListedPair, Profile, Subscription
from bridge.exchanges.toolkit.accounts.history import AccountMemory
from bridge.exchanges.toolkit.pairs.listing import check_listed
from bridge.exchanges.toolkit.pairs.names import Names, channels_of
from bridge.model import Event

__all__ = ["HostedExchange"]


class HostedExchange(Exchange):
    """One of an exchange's systems; `Profile.url` and `Profile.rest_url` go before its hosts."""

    hosts: ClassVar[Mapping[str, tuple[str, str, str]]]
    """Environment → hosts of public streams, of private ones, of REST."""
    list_path: ClassVar[str]
    """Where REST lists the pairs."""

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        public, private, rest = self.hosts[self.environment]
        self._public, self._private = (profile.url or f"wss://{host}" for host in (public, private))
        self._rest_base = profile.rest_url or f"https://{rest}"
        self._memory = AccountMemory()
        self._halted: dict[str, str] = {}
        """Pair → why it can't be traded, by the list as it was at the start."""
        self._names = Names()
        self._name(profile.pairs)

    @property
    @abstractmethod
    def environment(self) -> str:
        """Which of the systems the options name."""

    @property
    def rest_base(self) -> str:
        return self._rest_base

    @property
    def bases(self) -> list[str]:
        return list(dict.fromkeys([self._public, self._private, self._rest_base]))

    @classmethod
    @abstractmethod
    def by_convention(cls, pair: str) -> tuple[str, str]:
        """Category and symbol of a pair, where no list says them."""

    @property
    def needs_list(self) -> bool:
        """Whether the list has to be read: not where REST is another exchange's than the streams."""
        return not self.profile.url or self.profile.rest_url is not None

    def beside(self, pairs: Sequence[str]) -> Self:
        self._name(pairs)
        return super().beside(pairs)

    def discover(self, now: int) -> Flow[None]:
        """Read the list; without it, names go by convention."""
        del now
        if self.needs_list:
            listed = yield from self.list_pairs()
            self.check_pairs([pair.pair for pair in listed])
            self._halted = {pair.pair: _words(pair) for pair in listed if pair.status not in ("", "online")}

    def check_pairs(self, listed: Collection[str]) -> None:
        """Make sure that these, which are listed, are all of the profile's.

        Raises:
            RestError, UnknownPairError: as `check_listed`.
        """
        check_listed(self.name, self.list_path, self.pairs, listed)

    def remarks(self) -> list[str]:
        return [f"{pair}: {self._halted[pair]}" for pair in self.pairs if pair in self._halted]

    def subscriptions(self) -> list[Subscription]:
        """Of a pair only what its kind has."""
        return [stream for stream in super().subscriptions() if channels_of(stream.subject, [stream.channel])]

    def recall(self, stream: Subscription, tail: Sequence[Event], since: int) -> None:
        self._memory.take_up(stream, tail, since)

    def _name(self, pairs: Sequence[str]) -> None:
        for pair in pairs:
            self._names.suppose(*self.by_convention(pair), pair)


def _words(pair: ListedPair) -> str:
    return f"the exchange lists the pair as {pair.status}"
