"""The connection is cut at every place of a scripted life (R10): what is left is one execution of each verb."""

import random
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import msgspec
import pytest
from tests.faults.redis.conftest import check
from tests.faults.redis.life import contents, lived
from tests.faults.wire import Calm, Cut, under, undisturbed
from tests.servers import Server, start

Summary: TypeAlias = tuple[list[str], dict[str, Any]]

_SLACK_BYTES = 200
"""Two runs without a fault differ by so many: what INFO says has no fixed length."""
_STEP = 37


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all cuts of this process, which has heard every script: each begins with an empty store."""
    with start(tmp_path_factory.mktemp("server")) as server:
        lived(server.port, known=False, looped=False)
        yield server


class Scenario(msgspec.Struct, frozen=True):
    """The life as it is said: by a loop or a thread, with scripts that the server knows or that travel whole."""

    server: Server
    looped: bool
    known: bool

    def calm(self) -> Calm[Summary]:
        """The run without a cut."""
        return undisturbed(self.run, self.server.port)

    def run(self, url: str) -> Summary:
        """One life from an empty store."""
        self.server.say("FLUSHALL")
        answers, caller = lived(int(url.rpartition(":")[2]), known=self.known, looped=self.looped)
        check(self.server)
        return answers, contents(self.server, caller)

    def stands(self, cuts: Sequence[Cut], calm: Calm[Summary]) -> None:
        """Each of these cuts leaves what a calm run leaves, and tells what it tells."""
        for cut in cuts:
            answers, left = _under(cut, self, calm)
            assert answers == calm.summary[0], f"other answers: {cut}"
            assert left == calm.summary[1], f"another store: {cut}"


def _under(cut: Cut, scenario: Scenario, calm: Calm[Summary]) -> Summary:
    summary, struck = under(cut, scenario.run, scenario.server.port)
    near = calm.bytes_to_client if cut.kind == "behind byte to client" else calm.bytes_to_server
    assert struck or ("byte" in cut.kind and cut.place > near - _SLACK_BYTES), f"there was no place {cut}"
    return summary


@pytest.fixture(params=[False, True], ids=["thread", "loop"])
def scenario(request: pytest.FixtureRequest, shared: Server) -> Scenario:
    return Scenario(shared, request.param, known=True)


def whole(scenario: Scenario) -> Scenario:
    """The same, with scripts that are not known yet."""
    return msgspec.structs.replace(scenario, known=False)


def test_R10_cut_before_each_command_and_instead_of_each_reply(scenario: Scenario, dice: random.Random) -> None:
    """Every verb is one command; sampled."""
    calm = scenario.calm()
    at_commands = calm.cuts()[: 2 * calm.commands]
    assert calm.commands > 25
    scenario.stands(dice.sample(at_commands, 40), calm)


def test_R10_cut_behind_any_byte(scenario: Scenario, dice: random.Random) -> None:
    for one in (scenario, whole(scenario)):
        calm = one.calm()
        behind_bytes = calm.cuts(step=_STEP, first=dice.randint(1, _STEP))[2 * calm.commands :]
        one.stands(dice.sample(behind_bytes, 25), calm)


@pytest.mark.faults_full
@pytest.mark.timeout(7_200)
def test_R10_cut_everywhere(scenario: Scenario) -> None:
    """At every command, behind every byte; where scripts travel whole, behind every 37th."""
    calm = scenario.calm()
    scenario.stands(calm.cuts(), calm)


@pytest.mark.faults_full
@pytest.mark.timeout(7_200)
def test_R10_cut_everywhere_with_whole_scripts(scenario: Scenario) -> None:
    one = whole(scenario)
    calm = one.calm()
    one.stands(calm.cuts(step=_STEP), calm)
