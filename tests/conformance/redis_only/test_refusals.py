"""Error replies in words: the same on every version of the servers, whatever of them the driver knows."""

import pytest
from redis import exceptions as told

from surefoot.brokers.broker import NoAnswer, NoRoom, Refused
from surefoot.brokers.redis.refusals import meaning
from surefoot.core.errors import StoreError, StoreUnavailable, StoreUnsuitable

IN_A_SCRIPT = "@user_script: 386: -OOM command not allowed when used memory > 'maxmemory'."


@pytest.mark.parametrize(
    ("met", "kind", "words"),
    [
        (told.OutOfMemoryError("command not allowed"), NoRoom, "is full"),
        (told.ResponseError(IN_A_SCRIPT), NoRoom, "is full"),
        (
            told.ResponseError(f"Error running script (call to f_77): @user_script:23: {IN_A_SCRIPT}"),
            NoRoom,
            "nothing was stored",
        ),
        (told.ReadOnlyError("You can't write against a read only replica."), StoreUnavailable, "it is a replica now"),
        (
            told.ResponseError("@user_script: 9: -READONLY You can't write against a read only replica."),
            StoreUnavailable,
            "it is a replica now",
        ),
        (told.NoPermissionError("no permissions to run 'evalsha'"), StoreUnsuitable, "evalsha"),
        (told.ResponseError("LAYOUT 2"), StoreUnsuitable, "written in layout 2 and this release reads layout 1"),
        (told.ResponseError("CALLER two senders use the caller x"), Refused, "CALLER"),
        (told.ResponseError("STALE a later call of x was answered before"), Refused, "STALE"),
        (told.ResponseError("BUSY Redis is busy running a script."), NoAnswer, "cannot answer now"),
        (told.BusyLoadingError("Redis is loading the dataset in memory"), NoAnswer, "cannot answer now"),
        (told.ClusterDownError("Hash slot not served"), NoAnswer, "cannot answer now"),
        (told.ResponseError("WRONGTYPE Operation against a key"), StoreError, "refused a call: WRONGTYPE"),
    ],
)
def test_a_refusal_is_told_in_words(met: Exception, kind: type[Exception], words: str) -> None:
    meant = meaning("redis://cache", "shop:mail", met)
    assert type(meant) is kind
    assert words in str(meant)


def test_our_own_words_are_left_alone() -> None:
    own = StoreUnsuitable("too old.")
    assert meaning("redis://cache", "shop:mail", own) is own
